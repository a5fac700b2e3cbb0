//! W3C trace context, through the OpenTelemetry API alone: without an SDK nothing is active and nothing travels.
use futures_util::future::Either;
use opentelemetry::{
    context::FutureExt as _,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};

/// The `traceparent` of the current span, when it is sampled.
pub(crate) fn current_traceparent() -> Option<Box<str>> {
    let active = |cx: &opentelemetry::Context| cx.has_active_span().then(|| cx.span().span_context().clone());
    let span = opentelemetry::Context::map_current(active)?;
    if !span.is_valid() || !span.is_sampled() {
        return None;
    }
    Some(format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()).into())
}

/// A future under the span a message came with, so that what it sends carries the context on.
pub(crate) fn within<F: Future>(
    traceparent: Option<&str>,
    future: F,
) -> Either<opentelemetry::context::WithContext<F>, F> {
    match traceparent.and_then(parse) {
        Some(span) => {
            let cx = opentelemetry::Context::current().with_remote_span_context(span);
            Either::Left(future.with_context(cx))
        }
        None => Either::Right(future),
    }
}

/// Reads a `traceparent`. `None` for what is not one, is not version 00, or is not sampled.
pub fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 || parts.next().is_some()
    {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let trace = TraceId::from_hex(trace).ok()?;
    let span = SpanContext::new(trace, SpanId::from_hex(span).ok()?, flags, true, TraceState::default());
    (span.is_valid() && flags.is_sampled()).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[tokio::test]
    async fn what_runs_within_a_span_sends_its_context_on() {
        let inner = within(Some(PARENT), async {
            tokio::task::yield_now().await;
            current_traceparent()
        });
        assert_eq!(inner.await.as_deref(), Some(PARENT));
        assert_eq!(current_traceparent(), None);
    }

    #[test]
    fn what_is_not_sampled_or_not_a_context_is_dropped() {
        let unsampled = PARENT.replace("-01", "-00");
        for text in ["", "00-1-2-01", &unsampled, "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
