//! Recording and alerting rules, rule unit tests.
