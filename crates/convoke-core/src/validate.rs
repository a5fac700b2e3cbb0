use crate::Invalid;

/// What `garde` says about a message, as our own violations.
pub fn garde_validate<T: garde::Validate<Context = ()>>(value: &T) -> Result<(), Invalid> {
    value.validate().map_err(|report| {
        report.iter().fold(Invalid::default(), |invalid, (path, error)| {
            invalid.and(path.to_string(), error.message().to_string())
        })
    })
}
