//! The options of reads: resourceVersion, its match, limit and continue. The combinations that make no sense are refused as upstream does.

use super::query::Query;
use crate::{ApiError, FieldError};
use storage::{Freshness, Start};

fn forbidden(field: &str, detail: &str) -> ApiError {
    ApiError::invalid(
        "ListOptions.meta.k8s.io",
        "",
        vec![FieldError::forbidden(field, detail)],
    )
}

/// A resourceVersion. `None` when it is not given.
pub(crate) fn resource_version(query: &Query) -> Result<Option<i64>, ApiError> {
    let text = query.text("resourceVersion");
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<i64>() {
        Ok(version) if version >= 0 => Ok(Some(version)),
        _ => Err(ApiError::bad_request(format!(
            "resourceVersion: Invalid value: {text:?}: must be a number as given by the server"
        ))),
    }
}

/// How fresh a get must be.
pub(crate) fn of_get(query: &Query) -> Result<Freshness, ApiError> {
    Ok(match resource_version(query)? {
        None => Freshness::Latest,
        Some(0) => Freshness::Any,
        Some(version) => Freshness::AtLeast(version),
    })
}

/// How fresh a list must be.
pub(crate) fn of_list(query: &Query) -> Result<Freshness, ApiError> {
    let version = resource_version(query)?;
    let wanted = query.text("resourceVersionMatch");
    let continued = !query.text("continue").is_empty();
    if query.has("sendInitialEvents") {
        return Err(forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        ));
    }
    if !wanted.is_empty() {
        if continued {
            return Err(forbidden(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if version.is_none() {
            let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            return Err(forbidden("resourceVersionMatch", detail));
        }
    }
    if continued && version.is_some_and(|version| version > 0) {
        return Err(ApiError::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    let limited = query.number("limit")?.unwrap_or(0) > 0;
    match (wanted, version) {
        (_, None) => Ok(Freshness::Latest),
        ("Exact", Some(0)) => {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            Err(forbidden("resourceVersionMatch", detail))
        }
        ("" | "NotOlderThan", Some(0)) => Ok(Freshness::Any),
        ("Exact", Some(version)) => Ok(Freshness::Exactly(version)),
        // Without a match, a limit has always meant exactly this version.
        ("", Some(version)) if limited => Ok(Freshness::Exactly(version)),
        ("" | "NotOlderThan", Some(version)) => Ok(Freshness::AtLeast(version)),
        (other, Some(_)) => {
            let problem =
                FieldError::not_supported("resourceVersionMatch", &other.into(), &["Exact", "NotOlderThan", ""]);
            Err(ApiError::invalid("ListOptions.meta.k8s.io", "", vec![problem]))
        }
    }
}

/// Where a watch starts, and whether the end of the existing objects is to be marked.
pub(crate) fn of_watch(query: &Query) -> Result<(Start, bool), ApiError> {
    let version = resource_version(query)?;
    let wanted = query.text("resourceVersionMatch");
    let initial = query.flag("sendInitialEvents")?;
    match initial {
        None if !wanted.is_empty() => {
            let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            return Err(forbidden("resourceVersionMatch", detail));
        }
        Some(_) if wanted != "NotOlderThan" => {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(forbidden("resourceVersionMatch", detail));
        }
        _ => {}
    }
    let freshness = match version {
        None => Freshness::Latest,
        Some(0) => Freshness::Any,
        Some(version) => Freshness::AtLeast(version),
    };
    Ok(match (initial, version) {
        (Some(true), _) => (Start::Existing(freshness), true),
        (Some(false), None | Some(0)) => (Start::Now, false),
        (None, None | Some(0)) => (Start::Existing(freshness), false),
        (None | Some(false), Some(version)) => (Start::After(version), false),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(raw: &str) -> Query {
        Query::parse(Some(raw))
    }

    #[test]
    fn a_list_is_as_fresh_as_it_says() {
        let check = |raw, expected| assert_eq!(of_list(&query(raw)).unwrap(), expected, "{raw}");
        check("", Freshness::Latest);
        check("resourceVersion=0", Freshness::Any);
        check("resourceVersion=5", Freshness::AtLeast(5));
        check("resourceVersion=5&limit=1", Freshness::Exactly(5));
        check("resourceVersion=5&resourceVersionMatch=Exact", Freshness::Exactly(5));
        check(
            "resourceVersion=5&resourceVersionMatch=NotOlderThan&limit=1",
            Freshness::AtLeast(5),
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let code = |raw| of_list(&query(raw)).unwrap_err().code;
        assert_eq!(code("resourceVersion=abc"), 400);
        assert_eq!(code("resourceVersion=-1"), 400);
        assert_eq!(code("resourceVersionMatch=Exact"), 422);
        assert_eq!(code("resourceVersion=0&resourceVersionMatch=Exact"), 422);
        assert_eq!(code("resourceVersion=1&resourceVersionMatch=Newest"), 422);
        assert_eq!(code("resourceVersion=1&continue=x"), 400);
        assert_eq!(code("sendInitialEvents=true"), 422);
        assert_eq!(of_watch(&query("sendInitialEvents=true")).unwrap_err().code, 422);
        assert_eq!(
            of_watch(&query("resourceVersionMatch=NotOlderThan")).unwrap_err().code,
            422
        );
    }

    #[test]
    fn a_watch_starts_where_it_says() {
        let check = |raw, expected| assert_eq!(of_watch(&query(raw)).unwrap(), expected, "{raw}");
        check("", (Start::Existing(Freshness::Latest), false));
        check("resourceVersion=0", (Start::Existing(Freshness::Any), false));
        check("resourceVersion=7", (Start::After(7), false));
        check(
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=7",
            (Start::Existing(Freshness::AtLeast(7)), true),
        );
        check(
            "sendInitialEvents=false&resourceVersionMatch=NotOlderThan",
            (Start::Now, false),
        );
    }
}
