//! What people and programs see: API, console, Grafana, gateway.
