//! Go text/template as Prometheus and Alertmanager use it.
