//! Users, languages, conversations: the only service with a database.
