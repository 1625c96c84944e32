//! What a new store begins with.

use super::collections::LANGUAGES;
use crate::store::{DocumentStore, StoreError};
use serde_json::json;

/// Code, English name, own name.
const SEEDED: [(&str, &str, &str); 9] = [
    ("en", "English", "English"),
    ("fr", "French", "Fran\u{e7}ais"),
    ("es", "Spanish", "Espa\u{f1}ol"),
    ("it", "Italian", "Italiano"),
    ("de", "German", "Deutsch"),
    ("pt", "Portuguese", "Portugu\u{ea}s"),
    ("zh", "Chinese", "\u{4e2d}\u{6587}"),
    ("ja", "Japanese", "\u{65e5}\u{672c}\u{8a9e}"),
    ("ru", "Russian", "\u{420}\u{443}\u{441}\u{441}\u{43a}\u{438}\u{439}"),
];

pub(crate) fn codes() -> impl Iterator<Item = &'static str> {
    SEEDED.iter().map(|(code, ..)| *code)
}

/// Adds the languages that are missing; what people changed stays as it is.
pub(crate) async fn seed(store: &dyn DocumentStore) -> Result<(), StoreError> {
    for (code, name, native) in SEEDED {
        let language = json!({
            "code": code, "name": name, "nativeName": native, "isActive": true,
            "availableLevels": ["beginner", "intermediate", "advanced"],
        });
        let serde_json::Value::Object(body) = language else { continue };
        match store.insert(LANGUAGES, code.to_owned(), body).await {
            Ok(_) | Err(StoreError::Duplicate { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
