//! Who a person is.
