//! A service as a program of its own: its flags, where it listens, whom it lets in, and its life.
//!
//! The same `start` that a service's `main` runs here is what a process of several services calls; there the
//! caller binds every port before it starts anything, so that a taken port starts nothing.

use crate::{
    boot,
    http::{Bind, Server, Service, ServiceAuth, bind},
    problem::{Problem, Problems},
    secret::Secret,
    settings::{NAMES, Settings},
    tasks::Tasks,
};
use axum::{
    Router,
    routing::{MethodRouter, get},
};
use std::{
    fs::{File, TryLockError},
    io::Write,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// How long requests in flight may take once the process is told to stop.
pub const DRAIN: Duration = Duration::from_secs(10);

/// What a service says of itself in `--help`.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    pub name: &'static str,
    pub about: &'static str,
    /// The port it listens on unless told otherwise; 0 when it has no port of its own.
    pub port: u16,
    /// The settings it reads besides those that every service reads; each is in [`NAMES`].
    pub settings: &'static [&'static str],
    /// What it answers besides health and metrics: method, path, meaning.
    pub routes: &'static [(&'static str, &'static str, &'static str)],
    /// Things to try, one a line.
    pub examples: &'static str,
}

/// The settings that every service reads.
const COMMON: [&str; 7] = [
    "PORT",
    "LISTEN_ADDRESS",
    "LOG_LEVEL",
    "NODE_ENV",
    "SERVICE_AUTH_TOKEN",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];

/// What every service answers.
const COMMON_ROUTES: [(&str, &str, &str); 2] = [
    ("GET", "/api/v1/health", "whether it works, and each thing it depends on"),
    ("GET", "/metrics", "its metrics for Prometheus"),
];

/// Where a service listens, and what its callers must present.
#[derive(Debug, Clone)]
pub struct Place {
    pub address: SocketAddr,
    pub token: Option<Secret>,
}

impl Place {
    /// What guards the service's routes.
    pub fn auth(&self) -> ServiceAuth {
        ServiceAuth::new(self.token.clone())
    }
}

/// What a service is given to run with.
#[derive(Debug)]
pub struct Deps {
    /// Its group of tasks; the clock is in it.
    pub tasks: Tasks,
    pub bind: Bind,
}

/// A service that answers.
#[derive(Debug)]
pub struct Running {
    pub name: &'static str,
    pub address: SocketAddr,
    tasks: Tasks,
}

impl Running {
    /// Serves a service's own routes, with what every service has around them.
    pub fn serve(name: &'static str, deps: Deps, service: &Service, own: Router) -> Running {
        let Deps { tasks, bind } = deps;
        let address = bind.address;
        Server::start(&tasks, name, bind, service.router(own), DRAIN);
        tracing::info!(service = name, address = %address, "listening");
        Running { name, address, tasks }
    }

    /// The base address for callers in this machine.
    pub fn base(&self) -> String {
        base_of(self.address)
    }

    /// Stops taking requests, lets those in flight finish, ends the tasks. Says whether all ended in time.
    pub async fn stop(&self) -> bool {
        self.tasks.stop(DRAIN + Duration::from_secs(2)).await
    }
}

/// The base address of a listener for callers in this machine: loopback where it listens on every address.
pub fn base_of(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

impl Program {
    /// `GET /`: who answers here, and what can be asked.
    pub fn info<S: Clone + Send + Sync + 'static>(&self, version: &str) -> MethodRouter<S> {
        let routes = COMMON_ROUTES.iter().chain(self.routes);
        let routes: Vec<_> = routes
            .map(|(method, path, meaning)| serde_json::json!({"method": method, "path": path, "meaning": meaning}))
            .collect();
        let info = serde_json::json!({
            "service": self.name, "version": version, "about": self.about, "routes": routes,
        });
        get(move || async move { axum::Json(info) })
    }

    /// Reads where to listen and whom to let in.
    ///
    /// Beyond loopback a service with guarded routes wants `SERVICE_AUTH_TOKEN`; `public` ones have none.
    pub fn place(&self, settings: &Settings, public: bool, problems: &mut Problems) -> Place {
        let port = settings.parsed("PORT", self.port, problems);
        let ip = settings.parsed("LISTEN_ADDRESS", IpAddr::from([127, 0, 0, 1]), problems);
        let token = settings.secret("SERVICE_AUTH_TOKEN", problems);
        if !ip.is_loopback() && token.is_none() && !public {
            problems.push(
                Problem::unplaced(
                    "environment",
                    format!("{} would listen on {ip} and let everybody in", self.name),
                )
                .with_help("set SERVICE_AUTH_TOKEN (the same for all services), or listen on 127.0.0.1"),
            );
        }
        Place { address: SocketAddr::new(ip, port), token }
    }

    /// Listens where the settings say.
    ///
    /// # Errors
    /// Problems with the settings, or one sentence when the port is taken.
    pub async fn bind(&self, place: &Place) -> anyhow::Result<Bind> {
        bind(self.name, &place.address.to_string()).await
    }

    /// The whole `main` of a service's binary: flags, settings, start, wait for the signal, stop in order.
    pub fn main<C, F>(
        &self,
        version: &'static str,
        settings: Settings,
        configure: fn(&Settings) -> Result<C, Problems>,
        place: fn(&C) -> &Place,
        start: fn(C, Deps) -> F,
    ) -> ExitCode
    where
        F: Future<Output = anyhow::Result<Running>>,
    {
        let settings = match self.arguments(version, settings) {
            Ok(settings) => settings,
            Err(code) => return code,
        };
        boot::main(self.name, version, settings, |boot| async move {
            let config = configure(&boot.settings)?;
            let bind = self.bind(place(&config)).await?;
            let tasks = boot.tasks.group();
            let running = Box::pin(start(config, Deps { tasks, bind })).await?;
            boot.stop.cancelled().await;
            if !running.stop().await {
                tracing::warn!("some work had not ended when the process did");
            }
            boot.tasks.stop(Duration::from_secs(2)).await;
            tracing::info!("stopped");
            Ok(())
        })
    }

    /// The settings with the process's flags on top; or, after `--help`, `--version` or a mistake, which are
    /// answered here, the code to exit with.
    ///
    /// # Errors
    /// The exit code.
    pub fn arguments(&self, version: &str, settings: Settings) -> Result<Settings, ExitCode> {
        match self.flags(version, settings, std::env::args().skip(1)) {
            Ok(Asked::Run(settings)) => Ok(settings),
            Ok(Asked::Print(text)) => {
                // Nobody reads: nothing to say it to.
                let _lost = writeln!(std::io::stdout().lock(), "{text}");
                Err(ExitCode::SUCCESS)
            }
            Err(e) => Err(boot::complain(self.name, &e)),
        }
    }

    /// Settings with the flags on top, or what to print instead of running.
    fn flags(
        &self,
        version: &str,
        mut settings: Settings,
        args: impl Iterator<Item = String>,
    ) -> anyhow::Result<Asked> {
        let mut args = args;
        while let Some(arg) = args.next() {
            let (flag, inline) = match arg.split_once('=') {
                Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
                None => (arg, None),
            };
            let name = match flag.as_str() {
                "--version" | "-V" => return Ok(Asked::Print(format!("{} {version}", self.name))),
                "--help" | "-h" => return Ok(Asked::Print(self.help(version))),
                "--port" if self.port != 0 => "PORT",
                "--listen-address" => "LISTEN_ADDRESS",
                "--data-dir" if self.settings.contains(&"DATA_DIR") => "DATA_DIR",
                _ => anyhow::bail!("{flag} is not known here; --help shows what is"),
            };
            let value = inline.or_else(|| args.next());
            let value = value.ok_or_else(|| anyhow::anyhow!("{flag} wants a value; --help shows which"))?;
            settings = settings.with(name, value);
        }
        Ok(Asked::Run(settings))
    }

    fn help(&self, version: &str) -> String {
        let has_port = self.port != 0;
        let mut text = format!("{0} {version}: {1}\n\nUsage: {0}", self.name, self.about);
        for (shown, flag) in [
            (has_port, " [--port PORT]"),
            (true, " [--listen-address ADDRESS]"),
            (self.settings.contains(&"DATA_DIR"), " [--data-dir FOLDER]"),
        ] {
            text.push_str(if shown { flag } else { "" });
        }
        text.push_str("\n\nSettings, from the environment:\n");
        for name in COMMON.iter().chain(self.settings) {
            let Some((_, default, meaning)) = NAMES.iter().find(|(n, _, _)| n == name) else { continue };
            if *name == "PORT" && !has_port {
                continue;
            }
            let port = self.port.to_string();
            let default = if *name == "PORT" { port.as_str() } else { default };
            let default = if default.is_empty() { String::new() } else { format!(" [{default}]") };
            text.push_str(&format!("  {name:<28} {meaning}{default}\n"));
        }
        text.push_str("A secret NAME may also be given as NAME_FILE, the path of a file that holds it.\n");
        text.push_str("\nAnswers:\n");
        let common: &[_] = if has_port { &COMMON_ROUTES } else { &[] };
        for (method, path, meaning) in common.iter().chain(self.routes) {
            text.push_str(&format!("  {method:<6} {path:<40} {meaning}\n"));
        }
        text.push_str(&format!("\nTry:\n{}", self.examples));
        text
    }
}

#[derive(Debug)]
enum Asked {
    Run(Settings),
    Print(String),
}

/// A folder of data that this process alone uses, until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder when it is missing, and claims it.
    ///
    /// # Errors
    /// One sentence: it is in use by another process, or cannot be written.
    pub fn claim(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        std::fs::create_dir_all(path)
            .map_err(|e| anyhow::anyhow!("the data directory {shown} cannot be made: {e}"))?;
        let lock = File::create(path.join(".lock"))
            .map_err(|e| anyhow::anyhow!("the data directory {shown} cannot be written: {e}"))?;
        match lock.try_lock() {
            Ok(()) => Ok(DataDir { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "the data directory {shown} is in use by another process; stop it, or choose another with --data-dir"
            ),
            Err(TryLockError::Error(e)) => {
                anyhow::bail!("the data directory {shown} cannot be locked: {e}")
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests;
