//! A request that panics becomes a 500 and a log line; the process and the connection live on.

use crate::ApiError;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;

/// Runs a request. State shared between requests is behind locks that do not poison, and writes are transactions, so unwinding
/// through it leaves nothing half done.
pub(crate) async fn catch<T>(request: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    match AssertUnwindSafe(request).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|s| s.to_string());
            let text = text
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            tracing::error!(panic = %text, "a request panicked");
            Err(ApiError::internal(
                "the request caused a panic, which the server's log describes",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_panic_is_a_500_with_a_status() {
        let request = async { if true { panic!("boom") } else { Ok(()) } };
        let error = super::catch(request).await.unwrap_err();
        assert_eq!((error.code, error.reason), (500, "InternalError"));
    }
}
