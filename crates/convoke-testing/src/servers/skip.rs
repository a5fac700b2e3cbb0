//! What happens to a test whose server is missing.

use super::error::{Error, ErrorKind};

/// The started server, or `None` after saying that `test` is skipped.
///
/// # Panics
///
/// Panics when the server was there and did not start, and when servers are required.
pub(super) fn started_or_skipped<T>(test: &str, started: Result<T, Error>) -> Option<T> {
    decide(test, started, servers_required())
}

fn decide<T>(test: &str, started: Result<T, Error>, required: bool) -> Option<T> {
    match started {
        Ok(server) => Some(server),
        Err(error) if error.kind() == ErrorKind::Missing && !required => {
            println!("skipped: {test}: {error}");
            None
        }
        Err(error) => panic!("{test}: {error}"),
    }
}

/// Whether what a test needs must be there.
pub(crate) fn servers_required() -> bool {
    let set = |name| {
        std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0" && value != "false")
    };
    set("CI") || set("CONVOKE_REQUIRE_SERVERS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_server_skips_the_test_on_a_developers_machine() {
        assert_eq!(decide::<()>("t", Err(Error::missing("none".into())), false), None);
    }

    #[test]
    #[should_panic(expected = "orders survive: no nats-server")]
    fn a_missing_server_fails_the_test_where_servers_are_required() {
        decide::<()>("orders survive", Err(Error::missing("no nats-server".into())), true);
    }

    #[test]
    #[should_panic(expected = "orders survive: crashed")]
    fn a_server_that_does_not_come_up_is_never_a_skip() {
        decide::<()>("orders survive", Err(Error::failed("crashed")), false);
    }
}
