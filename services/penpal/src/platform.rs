//! Starting and stopping the services together.

use crate::PROGRAM;
use kit::{
    http::Bind,
    problem::Problems,
    program::{DataDir, Deps, Program, Running, base_of},
    settings::Settings,
    tasks::Tasks,
};
use std::path::PathBuf;
use tracing::Instrument;

/// Settings that are never common to several services.
const OWN: &[&str] = &["PORT", "DATA_DIR"];

/// The services that run, in the order in which they were started.
#[derive(Debug)]
pub struct Platform {
    /// Started first and stopped last: services settle their AI calls with it.
    vigie: Option<vigie::Vigie>,
    running: Vec<Running>,
    data: DataDir,
}

/// A service that listens and has not started.
#[derive(Debug)]
struct Listening {
    name: &'static str,
    bind: Bind,
}

/// What the service called `name` sees.
fn seen_by(settings: &Settings, name: &str) -> Settings {
    settings.scoped(name, OWN)
}

/// Listens for every service, or for none.
async fn listen(settings: &Settings) -> anyhow::Result<Vec<Listening>> {
    // Those that others call come first; each program with whether it is for everybody.
    let programs: [(&'static Program, bool); 6] = [
        (&db::PROGRAM, false),
        (&auth::PROGRAM, false),
        (&ai::PROGRAM, false),
        (&payment::PROGRAM, false),
        (&notify::PROGRAM, false),
        (&frontend::PROGRAM, true),
    ];
    let mut problems = Problems::default();
    let places: Vec<_> = programs
        .iter()
        .map(|(program, public)| {
            (*program, program.place(&seen_by(settings, program.name), *public, &mut problems))
        })
        .collect();
    problems.into_result(())?;
    let mut listening = Vec::new();
    for (program, place) in places {
        listening.push(Listening { name: program.name, bind: program.bind(&place).await? });
    }
    Ok(listening)
}

/// The settings with every service's address and folder filled in where nobody said otherwise.
fn filled_in(settings: &Settings, listening: &[Listening], data: &DataDir) -> Settings {
    let mut settings = settings.clone();
    for one in listening {
        let name = format!("{}_SERVICE_URL", one.name.to_uppercase());
        settings = settings.with_default(&name, base_of(one.bind.address));
    }
    let frontend = settings.get("FRONTEND_SERVICE_URL").unwrap_or_default().to_owned();
    settings = settings.with_default("FRONTEND_URL", frontend);
    // Without a relay Vigie keeps its mail for the console: this is development.
    if settings.get("SMTP_SMARTHOST").is_none() {
        settings = settings.with_default("VIGIE_SMTP_CAPTURE", "true");
    }
    let folder = |name: &str| data.path().join(name).display().to_string();
    settings.with_default("DB_DATA_DIR", folder("db")).with_default("VIGIE_DATA_DIR", folder("vigie"))
}

/// What Vigie is told; its configuration is read where the process was started, or in `VIGIE_CONFIG_DIR`.
fn vigie_options(settings: &Settings) -> Result<vigie::Options, Problems> {
    let mut options = vigie::Options::from_settings(&seen_by(settings, "vigie"))?;
    options.config_dir = Some(settings.path("VIGIE_CONFIG_DIR").unwrap_or_else(|| PathBuf::from(".")));
    Ok(options)
}

/// The value, or its problems added to the others.
fn keep<T>(result: Result<T, Problems>, problems: &mut Problems) -> Option<T> {
    result.map_err(|more| problems.extend(more)).ok()
}

/// Runs `start` in a group of tasks of its own, whose logs carry the service's name.
async fn launch<C, F>(
    config: Option<C>,
    listening: &mut Vec<Listening>,
    name: &'static str,
    tasks: &Tasks,
    start: impl FnOnce(C, Deps) -> F,
) -> anyhow::Result<Running>
where
    F: Future<Output = anyhow::Result<Running>>,
{
    let at = listening.iter().position(|l| l.name == name);
    let (Some(at), Some(config)) = (at, config) else {
        anyhow::bail!("{name} is not among the services that listen");
    };
    let bind = listening.remove(at).bind;
    let span = tracing::info_span!(parent: None, "service", service = name);
    let deps = Deps { tasks: tasks.group().in_span(span.clone()), bind };
    Box::pin(start(config, deps).instrument(span)).await
}

impl Platform {
    /// Starts everything. When something cannot start, what had started is stopped again.
    ///
    /// # Errors
    /// One line for a data directory in use or a taken port; every problem with the settings.
    pub async fn start(settings: &Settings, tasks: &Tasks) -> anyhow::Result<Self> {
        let folder = settings.path("DATA_DIR").unwrap_or_else(|| PathBuf::from("./data"));
        let data = DataDir::claim(&folder)?;
        let vigie_bind = vigie::Vigie::listen(&vigie_options(settings)?).await?;
        let settings = settings.with_default("MONITORING_SERVICE_URL", base_of(vigie_bind.address));
        let mut listening = listen(&settings).await?;
        let settings = filled_in(&settings, &listening, &data);

        let mut problems = Problems::default();
        let seen = |name: &str| seen_by(&settings, name);
        let db = keep(db::Config::from_settings(&seen("db")), &mut problems);
        let auth = keep(auth::Config::from_settings(&seen("auth")), &mut problems);
        let ai = keep(ai::Config::from_settings(&seen("ai")), &mut problems);
        let payment = keep(payment::Config::from_settings(&seen("payment")), &mut problems);
        let notify = keep(notify::Config::from_settings(&seen("notify")), &mut problems);
        let frontend = keep(frontend::Config::from_settings(&seen("frontend")), &mut problems);
        let options = keep(vigie_options(&settings), &mut problems);
        problems.into_result(())?;

        let mut platform = Platform { vigie: None, running: Vec::new(), data };
        let started = async {
            let (running, ports) = (&mut platform.running, &mut listening);
            let span = tracing::info_span!(parent: None, "service", service = "vigie");
            if let Some(options) = options {
                let own = tasks.group().in_span(span.clone());
                let start = vigie::Vigie::start(options, vigie_bind, &own);
                platform.vigie = Some(Box::pin(start.instrument(span)).await?);
            }
            running.push(launch(db, ports, "db", tasks, db::start).await?);
            running.push(launch(auth, ports, "auth", tasks, auth::start).await?);
            running.push(launch(ai, ports, "ai", tasks, ai::start).await?);
            running.push(launch(payment, ports, "payment", tasks, payment::start).await?);
            running.push(launch(notify, ports, "notify", tasks, notify::start).await?);
            running.push(launch(frontend, ports, "frontend", tasks, frontend::start).await?);
            anyhow::Ok(())
        }
        .await;
        match started {
            Ok(()) => Ok(platform),
            Err(e) => {
                platform.stop().await;
                Err(e)
            }
        }
    }

    /// The base address of a service that runs.
    pub fn base(&self, name: &str) -> Option<String> {
        if name == "vigie" {
            return self.vigie.as_ref().map(vigie::Vigie::base);
        }
        self.running.iter().find(|r| r.name == name).map(Running::base)
    }

    /// Where everything is, and what to try first.
    pub fn welcome(&self) -> String {
        let mut text = format!("\n{} {} is running.\n\n", PROGRAM.name, crate::VERSION);
        if let Some(vigie) = &self.vigie {
            text.push_str(&format!("  {:<10} {}/\n", "vigie", vigie.base()));
        }
        for one in &self.running {
            text.push_str(&format!("  {:<10} {}/\n", one.name, one.base()));
        }
        text.push_str(&format!("  {:<10} {}\n", "data", self.data.path().display()));
        let base = |name: &str| self.base(name).unwrap_or_default();
        text.push_str(&format!(
            "\nTry:\n\
             \x20 1. open {vigie}/ - is anything wrong, since when, what to do\n\
             \x20 2. open {frontend}/ and write a sentence with a mistake in it, or\n\
             \x20      curl -s {ai}/api/v1/ai/chat -H 'content-type: application/json' \\\n\
             \x20      -d '{{\"message\": \"He go to school\", \"language\": \"en\"}}'\n\
             \x20 3. ask what the services are doing:\n\
             \x20      curl -s {vigie}/api/v1/query --data-urlencode 'query=sum by (service) (http_requests_total)'\n\
             \nCtrl-C stops everything.\n\n",
            vigie = base("vigie"),
            frontend = base("frontend"),
            ai = base("ai"),
        ));
        text
    }

    /// Stops everything, callers before those they call.
    pub async fn stop(&self) {
        for one in self.running.iter().rev() {
            if !one.stop().await {
                tracing::warn!(service = one.name, "some work had not ended when the service did");
            }
        }
        if let Some(vigie) = &self.vigie {
            vigie.stop().await;
        }
    }

    /// Reads Vigie's configuration again. Its outcome is in the log and in a metric.
    pub async fn reload(&self) {
        if let Some(vigie) = &self.vigie {
            let _told = vigie.reload().await.is_err();
        }
    }
}
