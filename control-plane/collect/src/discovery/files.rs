//! `file_sd_configs`.

use super::{Found, FoundGroups, groups};
use std::{
    collections::BTreeSet,
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::Read,
    path::{Path, PathBuf},
};

/// Bytes of one file, at most.
const MAX_FILE: u64 = 16 << 20;

/// Looks at the files once more: what changed since `known` is read. `None` where nothing did. Beside it stand
/// the files that cannot be used, each with its reason; of those what was good last stays.
pub(crate) fn look(patterns: &[PathBuf], known: &FoundGroups) -> (Option<FoundGroups>, Vec<String>) {
    let mut wrong = Vec::new();
    let mut now = FoundGroups::new();
    let mut changed = false;
    let paths: BTreeSet<PathBuf> = patterns.iter().flat_map(|p| kit::files::matching(p)).collect();
    for path in paths {
        let name = path.display().to_string();
        let before = known.get(&name);
        match read(&path) {
            // A file that is not there has no targets, as one that a pattern does not find.
            Ok(None) => {}
            Ok(Some(text)) => {
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                let hash = hasher.finish();
                if let Some(same) = before.filter(|b| b.hash == hash) {
                    now.insert(name, same.clone());
                    continue;
                }
                match groups(&name, &text, ("__meta_filepath", &name)) {
                    Ok(groups) => {
                        changed = true;
                        now.insert(name, Found { hash, groups });
                        continue;
                    }
                    Err(problems) => wrong.push(problems.to_string()),
                }
                now.extend(before.map(|b| (name, b.clone())));
            }
            Err(e) => {
                wrong.push(format!("{name}: {e}"));
                now.extend(before.map(|b| (name, b.clone())));
            }
        }
    }
    changed |= known.keys().any(|name| !now.contains_key(name));
    (changed.then_some(now), wrong)
}

/// The file's text, `None` where there is no file.
fn read(path: &Path) -> Result<Option<String>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("cannot be read: {e}")),
    };
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|e| format!("cannot be read: {e}"))?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("is longer than {MAX_FILE} bytes"));
    }
    Ok(Some(text))
}
