//! Bearer tokens of every kind, for requests and for TokenReviews alike.

use super::{Authenticator, bearer};
use crate::{ApiError, User};
use std::sync::Arc;

/// A token longer than this is nobody's.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// One kind of bearer token.
#[async_trait::async_trait]
pub trait TokenKind: Send + Sync {
    /// The user of a token that is good for one of `audiences`, which are never empty. `Ok(None)`: it is of another kind. `Err`: it
    /// is not accepted, and why; that is for logs and reviews, so it never shows the token.
    async fn check(&self, token: &str, audiences: &[String]) -> Result<Option<Accepted>, String>;
}

/// Whose a token is, and which of the audiences asked for it is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub user: User,
    pub audiences: Vec<String>,
}

/// The kinds in their order: the first that accepts a token decides.
pub struct Bearers {
    pub(super) kinds: Vec<Arc<dyn TokenKind>>,
    /// Those of this API server, which are meant where none are asked for.
    pub(super) audiences: Vec<String>,
}

impl Bearers {
    /// Whose a token is. `Err` is why it is nobody's.
    pub async fn check(&self, token: &str, audiences: &[String]) -> Result<Accepted, String> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(format!("a token has at most {TOKEN_BYTES_MAX} bytes"));
        }
        let wanted = if audiences.is_empty() {
            &self.audiences
        } else {
            audiences
        };
        let mut refusals = Vec::new();
        for kind in &self.kinds {
            match kind.check(token, wanted).await {
                Ok(Some(accepted)) => return Ok(accepted),
                Ok(None) => {}
                Err(why) => refusals.push(why),
            }
        }
        match refusals.is_empty() {
            true => Err("invalid bearer token".into()),
            false => Err(refusals.join(", ")),
        }
    }
}

#[async_trait::async_trait]
impl Authenticator for Bearers {
    /// A token that nobody accepts is a bad credential, not a missing one: its sender is not taken for a stranger.
    async fn authenticate(&self, request: &http::request::Parts) -> Result<Option<User>, ApiError> {
        let Some(token) = bearer(&request.headers) else {
            return Ok(None);
        };
        match self.check(token, &[]).await {
            Ok(accepted) => Ok(Some(accepted.user)),
            Err(why) => {
                tracing::debug!(why, "refused a bearer token");
                Err(ApiError::unauthorized())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Only(&'static str);

    #[async_trait::async_trait]
    impl TokenKind for Only {
        async fn check(&self, token: &str, audiences: &[String]) -> Result<Option<Accepted>, String> {
            match token == self.0 {
                true => Ok(Some(Accepted {
                    user: User::new(self.0, &[]),
                    audiences: audiences.to_vec(),
                })),
                false => Err(format!("not {}", self.0)),
            }
        }
    }

    fn with(value: &str) -> http::request::Parts {
        let request = http::Request::builder().header("authorization", value).body(());
        request.unwrap().into_parts().0
    }

    #[tokio::test]
    async fn a_token_is_tried_as_every_kind_and_a_bad_one_is_no_stranger() {
        let bearers = Bearers {
            kinds: vec![Arc::new(Only("a")), Arc::new(Only("b"))],
            audiences: vec!["api".into()],
        };
        let found = bearers.authenticate(&with("Bearer b")).await.unwrap().unwrap();
        assert_eq!(found.name, "b");
        assert!(bearers.authenticate(&with("Bearer c")).await.is_err());
        assert_eq!(bearers.authenticate(&with("Basic c")).await, Ok(None));
        assert_eq!(bearers.check("c", &[]).await, Err("not a, not b".into()));
        assert_eq!(bearers.check("a", &[]).await.unwrap().audiences, ["api"]);
        let none = Bearers {
            kinds: Vec::new(),
            audiences: vec!["api".into()],
        };
        assert!(none.authenticate(&with("Bearer c")).await.is_err());
        assert!(none.check(&"x".repeat(100_000), &[]).await.is_err());
    }
}
