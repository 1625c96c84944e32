//! The whole platform and Vigie in one process, on embedded stores.
