//! A process of a test: its log in a file, ended by its own pid.

use std::{
    collections::hash_map::RandomState,
    fs::File,
    hash::{BuildHasher, Hasher},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// Lines of a log shown when its test fails.
const SHOWN: usize = 40;

#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with an environment of `command`'s own variables and `PATH`. Its output is added to
    /// `folder/name.log`, so that a second start goes on in the same file.
    pub(crate) fn start(
        name: &str,
        folder: &Path,
        command: &mut Command,
        env: &[(String, String)],
    ) -> Process {
        let log = folder.join(format!("{name}.log"));
        let open = || File::options().create(true).append(true).open(&log).expect("a log file");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let child = command
            .env_clear()
            .env("PATH", path)
            .env("HOME", folder)
            .envs(env.iter().map(|(k, v)| (k, v)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        Process { name: name.to_owned(), child, log }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The process's output so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// An error when it has ended.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("{} has ended: {status}", self.name)),
            Err(e) => Err(format!("{}: {e}", self.name)),
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
        assert!(sent.success(), "{} could not be told to stop", self.name);
    }

    /// How it ended.
    ///
    /// # Panics
    /// When it has not ended within `limit`.
    pub(crate) async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let name = self.name.clone();
        let waiting = async {
            loop {
                if let Some(status) = self.child.try_wait().expect("wait") {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(limit, waiting)
            .await
            .unwrap_or_else(|_| panic!("{name} has not ended within {} s", limit.as_secs()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ended = (self.child.kill().is_ok(), self.child.wait().is_ok());
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(SHOWN);
            println!(
                "--- {} ({})\n{}",
                self.name,
                self.log.display(),
                lines.get(from..).unwrap_or_default().join("\n")
            );
        }
    }
}

/// Hands out ports of loopback that nobody listens on. They are below the range from which the system takes ports
/// for outgoing connections, so that a service that is restarted finds its port free.
#[derive(Debug)]
pub(crate) struct Ports(u16);

impl Ports {
    pub(crate) fn new() -> Ports {
        // Tests that run side by side, in one process or several, begin at places of their own.
        let random = RandomState::new().build_hasher().finish() % 11_000;
        Ports(20_000 + u16::try_from(random).expect("below 11000"))
    }

    pub(crate) fn free(&mut self) -> u16 {
        for _ in 0..1000 {
            self.0 += 1;
            if std::net::TcpListener::bind(("127.0.0.1", self.0)).is_ok() {
                return self.0;
            }
        }
        panic!("no port is free below {}", self.0);
    }
}
