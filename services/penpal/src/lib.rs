//! All services of the platform in one process, on embedded stores.
//!
//! It adds nothing to the services: each starts as it does from its own binary, with settings seen through its
//! own prefix (`AUTH_PORT`, `DB_DATA_DIR`) and the others' addresses filled in.
//!
//! Invariants: every port is bound and every setting read before anything starts, so a taken port or a bad
//! setting starts nothing; the data directory has one user; services stop before those that they call.

mod platform;

pub use platform::Platform;

use kit::program::Program;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub const PROGRAM: Program = Program {
    name: "penpal",
    about: "Penpal AI and Vigie in one process",
    port: 0,
    settings: &["DATA_DIR", "OPENAI_API_KEY", "REDIS_HOST", "SMTP_SMARTHOST", "GRAFANA_URL"],
    routes: &[
        ("GET", "http://127.0.0.1:3000/", "frontend; FRONTEND_PORT moves it, and so on"),
        ("GET", "http://127.0.0.1:3001/", "db"),
        ("GET", "http://127.0.0.1:3002/", "auth"),
        ("GET", "http://127.0.0.1:3003/", "ai"),
        ("GET", "http://127.0.0.1:3004/", "payment"),
        ("GET", "http://127.0.0.1:3005/", "Vigie"),
        ("GET", "http://127.0.0.1:3007/", "notify"),
    ],
    examples: "  penpal --data-dir ./data\n  AI_PORT=4003 penpal\n",
};
