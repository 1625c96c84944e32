//! Redis, through one multiplexed connection that reconnects by itself.

use crate::{Answer, Cache, CacheError, Counted, check_size};
use kit::secret::Secret;
use redis::{
    Client, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use std::{fmt, time::Duration};

/// How long one command may take, the connecting included.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where Redis is.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    pub host: String,
    pub port: u16,
    pub password: Option<Secret>,
}

impl RedisConfig {
    /// Reads an address such as `redis://:secret@127.0.0.1:6379`; the password is percent-decoded by nobody,
    /// so it must not need it.
    pub fn from_url(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok().filter(|u| u.scheme() == "redis")?;
        Some(RedisConfig {
            host: url.host_str()?.to_owned(),
            port: url.port().unwrap_or(6379),
            password: url.password().map(Secret::new),
        })
    }
}

/// A cache in Redis. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    connection: ConnectionManager,
    prefix: String,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Adds, and gives the key its time to live when it has none; one step, so no counter lives for ever.
const INCREMENT: &str = "local n = redis.call('INCRBY', KEYS[1], ARGV[1]) \
    local left = redis.call('PTTL', KEYS[1]) \
    if left < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) left = tonumber(ARGV[2]) end \
    return {n, left}";

fn milliseconds(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX.unsigned_abs())
}

impl Redis {
    /// Needs a tokio runtime. Nothing is connected yet.
    ///
    /// # Errors
    /// When the address makes no sense.
    pub fn new(config: RedisConfig, prefix: &str) -> Result<Self, CacheError> {
        use redis::IntoConnectionInfo;
        let address = (config.host.as_str(), config.port);
        let mut info = address.into_connection_info().map_err(CacheError::Away)?;
        if let Some(password) = &config.password {
            let redis = info.redis_settings().clone().set_password(password.expose());
            info = info.set_redis_settings(redis);
        }
        let client = Client::open(info).map_err(CacheError::Away)?;
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(1);
        let connection =
            ConnectionManager::new_lazy_with_config(client, settings).map_err(CacheError::Away)?;
        Ok(Redis { connection, prefix: format!("{prefix}:") })
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn ask<T: redis::FromRedisValue + Send + 'static>(&self, command: redis::Cmd) -> Answer<'_, T> {
        let mut connection = self.connection.clone();
        Box::pin(async move { command.query_async(&mut connection).await.map_err(CacheError::Away) })
    }
}

impl Cache for Redis {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        self.ask(redis::cmd("GET").arg(self.key(key)).to_owned())
    }

    fn set<'a>(&'a self, key: &'a str, value: &'a [u8], ttl: Duration) -> Answer<'a, ()> {
        if let Err(e) = check_size(value) {
            return Box::pin(async { Err(e) });
        }
        self.ask(redis::cmd("SET").arg(self.key(key)).arg(value).arg("PX").arg(milliseconds(ttl)).to_owned())
    }

    fn set_if_absent<'a>(&'a self, key: &'a str, value: &'a [u8], ttl: Duration) -> Answer<'a, bool> {
        if let Err(e) = check_size(value) {
            return Box::pin(async { Err(e) });
        }
        let mut command = redis::cmd("SET");
        command.arg(self.key(key)).arg(value).arg("PX").arg(milliseconds(ttl)).arg("NX");
        let answer = self.ask::<Option<String>>(command);
        Box::pin(async { Ok(answer.await?.is_some()) })
    }

    fn take<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        self.ask(redis::cmd("GETDEL").arg(self.key(key)).to_owned())
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, bool> {
        self.ask(redis::cmd("DEL").arg(self.key(key)).to_owned())
    }

    fn increment<'a>(&'a self, key: &'a str, by: i64, window: Duration) -> Answer<'a, Counted> {
        let mut connection = self.connection.clone();
        Box::pin(async move {
            let script = Script::new(INCREMENT);
            let mut call = script.key(self.key(key));
            call.arg(by).arg(milliseconds(window));
            let answer: Result<(i64, u64), _> = call.invoke_async(&mut connection).await;
            let (value, left) = answer.map_err(|e| {
                let text = e.to_string();
                let not_a_number = text.contains("not an integer") || text.contains("WRONGTYPE");
                if not_a_number { CacheError::NotANumber(key.to_owned()) } else { CacheError::Away(e) }
            })?;
            Ok(Counted { value, resets_in: Duration::from_millis(left) })
        })
    }

    fn ping(&self) -> Answer<'_, ()> {
        self.ask(redis::cmd("PING"))
    }

    fn kind(&self) -> &'static str {
        "redis"
    }
}
