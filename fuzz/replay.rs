//! Replays a corpus: every file of `fuzz/corpus/TARGET`, and mutations of each that are the same in every run.
//!
//! Included by the `tests/corpus.rs` of the crates. `FUZZ_ROUNDS` says how many mutations of a file there are.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

const ROUNDS: u64 = 50;
/// No mutation grows a file beyond this.
const LONGEST: usize = 64 << 10;

/// Chances, from a seed.
struct Chance(u64);

impl Chance {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n.max(1) as u64)).expect("less than a length")
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// A part of something that is `len` long.
    fn part(&mut self, len: usize) -> (usize, usize) {
        let (a, b) = (self.below(len + 1), self.below(len + 1));
        (a.min(b), a.max(b).min(a.min(b) + 64))
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        const EDGES: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 63, u64::MAX];
        let at = self.below(bytes.len());
        match self.below(9) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => bytes[at] = self.byte(),
            2 if !bytes.is_empty() => {
                bytes[at] = [0, 0x7f, 0x80, 0xff, b'"', b'{', b'\n', b'\\'][self.below(8)]
            }
            3 => bytes.truncate(at),
            4 => {
                let (from, to) = self.part(bytes.len());
                bytes.drain(from..to);
            }
            5 => {
                let (from, to) = self.part(bytes.len());
                let copy = bytes[from..to].to_vec();
                bytes.splice(at..at, copy);
            }
            6 => {
                let edge = EDGES[self.below(EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&edge[..width]);
            }
            7 => {
                let (from, to) = self.part(other.len());
                let end = (at + to - from).min(bytes.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let more: Vec<u8> = (0..=self.below(8)).map(|_| self.byte()).collect();
                bytes.splice(at..at, more);
            }
        }
        bytes.truncate(LONGEST);
    }
}

fn rounds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test is told by its environment how long it may take")]
    let given = std::env::var("FUZZ_ROUNDS");
    given.map_or(ROUNDS, |n| n.parse().expect("FUZZ_ROUNDS is a number"))
}

/// Calls `entry` with everything that `target`'s corpus holds and becomes, and says by which bytes it panicked. Files
/// named `seed-*` are good ones, and `entry` has to say so.
pub(crate) fn replay(target: &str, entry: impl Fn(&[u8]) -> bool) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let folder = fuzz.join("corpus").join(target);
    let mut names: Vec<PathBuf> =
        fs::read_dir(&folder).expect("a corpus").map(|f| f.expect("a file").path()).collect();
    names.sort();
    let files: Vec<Vec<u8>> = names.iter().map(|name| fs::read(name).expect("reads")).collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    let check = |bytes: &[u8], of: &Path, round: u64| -> bool {
        let panic = match catch_unwind(AssertUnwindSafe(|| entry(bytes))) {
            Ok(good) => return good,
            Err(panic) => panic,
        };
        let shown: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{target}-panic"));
        fs::write(&found, bytes).expect("writes");
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
        panic!("round {round} of {}: {what}\nbytes, also in {}: {shown}", of.display(), found.display());
    };
    for (n, (name, bytes)) in names.iter().zip(&files).enumerate() {
        let seed = name.file_name().is_some_and(|n| n.to_string_lossy().starts_with("seed-"));
        assert!(check(bytes, name, 0) || !seed, "{} is not good any more", name.display());
        for round in 1..=rounds() {
            let mut chance = Chance(round << 20 | n as u64);
            let mut mutated = bytes.clone();
            for _ in 0..=chance.below(4) {
                let other = &files[chance.below(files.len())];
                chance.change(&mut mutated, other);
            }
            check(&mutated, name, round);
        }
    }
}
