use std::fmt;
use std::sync::Arc;

use axum::extract::Request;
use convoke_core::Executed;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::{Choice, ConstantTimeEq};
use tower::Layer;

use super::{Guard, GuardError, Guarded};
use crate::ProblemDetails;

/// A layer that lets only requests with one of some bearer tokens pass. Made by [`bearer`].
#[derive(Clone)]
pub struct Bearer {
    tokens: Arc<Tokens>,
}

/// Demands `Authorization: Bearer <token>` with one of these tokens; several, so that they can be rotated.
///
/// The tokens are kept as digests and compared in constant time. Others are answered 401 with problem+json.
///
/// ```
/// # use axum::{Router, routing::get};
/// let router: Router = Router::new()
///     .route("/orders", get(|| async { "orders" }))
///     .layer(convoke_axum::bearer(["new-token", "old-token"])?);
/// assert!(convoke_axum::bearer([""]).is_err());
/// # Ok::<(), convoke_axum::GuardError>(())
/// ```
///
/// # Errors
/// When there is no token, or one that no request could carry: empty, or with spaces or line ends.
pub fn bearer<T>(tokens: impl IntoIterator<Item = T>) -> Result<Bearer, GuardError>
where
    T: AsRef<str>,
{
    let digests = tokens.into_iter().map(|token| {
        let token = token.as_ref();
        match token {
            "" => Err(GuardError("a bearer token must not be empty")),
            _ if !token.bytes().all(|b| b.is_ascii_graphic()) => Err(GuardError(
                "a bearer token has visible ASCII characters only, without spaces or line ends",
            )),
            _ => Ok(digest_of(token.as_bytes())),
        }
    });
    let digests = digests.collect::<Result<Vec<_>, _>>()?;
    if digests.is_empty() {
        return Err(GuardError("at least one bearer token is needed, or nobody could pass"));
    }
    Ok(Bearer { tokens: Arc::new(Tokens(digests)) })
}

impl<S> Layer<S> for Bearer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, guard: self.tokens.clone() }
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("tokens", &self.tokens.0.len()).finish()
    }
}

type Digest = [u8; SHA256_OUTPUT_LEN];

struct Tokens(Vec<Digest>);

impl Tokens {
    /// Digests have one length whatever the token's, and all are compared: time tells nothing about them.
    fn contains(&self, token: &[u8]) -> bool {
        let presented = digest_of(token);
        self.0.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&presented)).into()
    }
}

impl Guard for Tokens {
    fn check(&self, request: &Request) -> Result<(), ProblemDetails> {
        match presented(request) {
            Some(token) if self.contains(token) => Ok(()),
            Some(_) => Err(unauthorized("this bearer token is not valid", r#"Bearer error="invalid_token""#)),
            None => Err(unauthorized("send `Authorization: Bearer <token>`", "Bearer")),
        }
    }
}

/// The token of a request with exactly one `Authorization` of the right scheme.
fn presented(request: &Request) -> Option<&[u8]> {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

fn unauthorized(detail: &str, challenge: &'static str) -> ProblemDetails {
    ProblemDetails::new(StatusCode::UNAUTHORIZED, detail)
        .executed(Executed::No)
        .header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

fn digest_of(token: &[u8]) -> Digest {
    digest(&SHA256, token).as_ref().try_into().expect("a SHA-256 digest has this length")
}
