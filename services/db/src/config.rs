//! The service's settings, read and checked all at once.

use crate::store::MongoConfig;
use kit::{
    problem::Problems,
    program::Place,
    settings::{Settings, setting_problem},
};
use std::path::PathBuf;

/// Where documents are kept.
#[derive(Debug, Clone)]
pub enum StoreConfig {
    /// In SQLite, in this folder.
    Embedded(PathBuf),
    Mongo(MongoConfig),
}

/// What the service needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    pub place: Place,
    pub store: StoreConfig,
}

impl Config {
    /// # Errors
    /// Every problem with the settings.
    pub fn from_settings(settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let place = crate::PROGRAM.place(settings, false, &mut problems);
        let store = match settings.secret("MONGODB_URI", &mut problems) {
            None => {
                StoreConfig::Embedded(settings.path("DATA_DIR").unwrap_or_else(|| PathBuf::from("./data/db")))
            }
            Some(uri) => {
                if !uri.expose().starts_with("mongodb://") && !uri.expose().starts_with("mongodb+srv://") {
                    problems
                        .push(setting_problem("MONGODB_URI", "must begin with mongodb:// or mongodb+srv://"));
                }
                StoreConfig::Mongo(MongoConfig {
                    uri,
                    user: settings.get("MONGODB_USER").map(str::to_owned),
                    password: settings.secret("MONGODB_PASSWORD", &mut problems),
                })
            }
        };
        problems.into_result(Config { place, store })
    }
}
