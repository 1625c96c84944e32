//! The collections, with the fields that may be filtered.

use crate::store::{Collection, FieldDef, Kind};

const fn field(name: &'static str, kind: Kind, required: bool, unique: bool) -> FieldDef {
    FieldDef { name, kind, required, unique }
}

/// People who learn.
pub(crate) const USERS: &Collection = &Collection {
    name: "users",
    fields: &[
        field("email", Kind::Text, true, true),
        field("status", Kind::Text, true, false),
        field("createdAt", Kind::Int, true, false),
        field("lastActive", Kind::Int, true, false),
        field("learningLanguage", Kind::Text, false, false),
    ],
};

/// Languages that can be learned.
pub(crate) const LANGUAGES: &Collection = &Collection {
    name: "languages",
    fields: &[field("code", Kind::Text, true, true), field("isActive", Kind::Bool, true, false)],
};

pub(crate) const ALL: [&Collection; 2] = [USERS, LANGUAGES];
