//! `meta.json`, and the names of blocks.

use super::error::BlockError;
use model::Timestamp;
use serde::{Deserialize, Serialize};
use std::{fmt, fs, io::Read, path::Path};

/// The file's name.
pub(super) const META: &str = "meta.json";
/// The only version there has been.
pub(super) const VERSION: u32 = 1;
/// The largest one that is believed.
const MOST_BYTES: u64 = 4 << 20;

/// The name of a block: 48 bits of time in milliseconds, 80 bits by chance, in 26 characters that sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ulid(u128);

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl Ulid {
    /// `chance`: its low 80 bits are used.
    pub fn new(at: Timestamp, chance: u128) -> Ulid {
        let at = u128::from(at.max(0).cast_unsigned() & 0xffff_ffff_ffff);
        Ulid((at << 80) | (chance & ((1 << 80) - 1)))
    }

    /// Reads the 26 characters, in upper case as Prometheus writes them.
    pub fn parse(text: &str) -> Option<Ulid> {
        if text.len() != 26 {
            return None;
        }
        let mut v = 0u128;
        for b in text.bytes() {
            let digit = ALPHABET.iter().position(|a| *a == b)?;
            // 26 characters hold 130 bits: the first two must be zero.
            if v >> 123 != 0 {
                return None;
            }
            v = (v << 5) | digit as u128;
        }
        Some(Ulid(v))
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for i in (0..26).rev() {
            let digit = usize::try_from((self.0 >> (5 * i)) & 31).unwrap_or(0);
            write!(f, "{}", char::from(ALPHABET[digit]))?;
        }
        Ok(())
    }
}

impl Serialize for Ulid {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ulid {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Ulid::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no ULID")))
    }
}

/// What a block says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    pub ulid: Ulid,
    /// The range of its samples: from `min_time` to before `max_time`.
    pub min_time: Timestamp,
    pub max_time: Timestamp,
    #[serde(default)]
    pub stats: Stats,
    #[serde(default)]
    pub compaction: Compaction,
    pub version: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    pub num_samples: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    pub num_series: u64,
    pub num_chunks: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// How a block came to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compaction {
    pub level: u32,
    /// The first blocks it was made from; itself when it is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Ulid>,
    /// The blocks it replaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parent {
    pub ulid: Ulid,
    #[serde(default)]
    pub min_time: Timestamp,
    #[serde(default)]
    pub max_time: Timestamp,
}

impl Meta {
    /// Reads the file in `dir`.
    pub(super) fn read(dir: &Path) -> Result<Meta, BlockError> {
        let path = dir.join(META);
        let file = fs::File::open(&path).map_err(|e| BlockError::io(&path, e))?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(|e| BlockError::io(&path, e))?;
        Meta::parse(&path, &bytes)
    }

    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Meta, BlockError> {
        let meta: Meta = serde_json::from_slice(bytes).map_err(|e| {
            BlockError::unsupported(path, format!("it is not the description of a block: {e}"))
        })?;
        if meta.version != VERSION {
            let what = format!("version {} of a block is not known here: {VERSION} is", meta.version);
            return Err(BlockError::unsupported(path, what));
        }
        if meta.min_time >= meta.max_time {
            let what = format!("its times are no range: {} to {}", meta.min_time, meta.max_time);
            return Err(BlockError::unsupported(path, what));
        }
        Ok(meta)
    }
}
