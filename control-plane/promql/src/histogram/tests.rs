//! Bucket bounds, as people see them in the API.

use super::*;

#[test]
fn bounds_are_those_of_prometheus_to_the_last_bit() {
    let check = |index, schema, expect: f64| {
        assert_eq!(upper_bound(index, schema).to_bits(), expect.to_bits(), "{index} of schema {schema}");
    };
    for (index, schema, expect) in [
        (0, 0, 1.0),
        (-3, 0, 0.125),
        (1, -2, 16.0),
        (1024, 0, f64::MAX),
        (-1, 1, 0.7071067811865475),
        (-3, 2, 0.5946035575013605),
        (3, 2, 1.6817928305074288),
        (-31, 5, 0.5109485743270583),
        (-125, 8, 0.7128738720527471),
        (-1, 8, 0.9972960560854698),
        (1024 * 256, 8, f64::MAX),
        (-1074 * 256, 8, 5e-324),
    ] {
        check(index, schema, expect);
    }
}
