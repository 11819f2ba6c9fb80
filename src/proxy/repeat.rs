//! Which requests may be sent a second time after they were sent, and which only ask.

use http::Method;

use crate::dialect::is_unary_inference;
use crate::vocab::policy::Repeatable;

/// Whether a request may be repeated: idempotent by its method (RFC 9110 section 9.2.2), or
/// a question to a model by its path.
pub(super) fn may_repeat(rule: Repeatable, method: &Method, path: &str) -> bool {
    match rule {
        Repeatable::Always => true,
        Repeatable::Never => false,
        Repeatable::Auto => {
            method.is_idempotent() || (method == Method::POST && is_inference(path))
        }
    }
}

/// Whether a request asks and changes nothing, so that an emergency version may answer it
/// in the read-only mode: a safe method (RFC 9110 section 9.2.1), or POST that may be
/// repeated. PUT, PATCH and DELETE never do, repeatable or not.
pub(super) fn is_question(repeatable: bool, method: &Method) -> bool {
    method.is_safe() || (*method == Method::POST && repeatable)
}

fn is_inference(path: &str) -> bool {
    if let Some(rest) = path.strip_prefix("/v2/models/") {
        return rest.len() > "/infer".len() && rest.ends_with("/infer");
    }
    if let Some(rest) = path.strip_prefix("/v1/") {
        return rest == "embeddings"
            || rest == "responses"
            || rest.ends_with("completions");
    }
    if is_unary_inference(path) {
        return true;
    }
    path.strip_prefix("/predictions/").is_some_and(|model| !model.is_empty())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::{is_question, may_repeat};
    use crate::vocab::policy::Repeatable;

    #[test]
    fn questions_may_be_repeated_and_orders_may_not() {
        let auto = |method, path| may_repeat(Repeatable::Auto, &method, path);
        for path in [
            "/v2/models/iris/infer",
            "/v2/models/iris/versions/2/infer",
            "/v1/chat/completions",
            "/v1/completions",
            "/v1/embeddings",
            "/v1/responses",
            "/predictions/bert",
            "/inference.GRPCInferenceService/ModelInfer",
        ] {
            assert!(auto(Method::POST, path), "{path}");
        }
        for path in [
            "/",
            "/v2/models/iris",
            "/v2/models/infer",
            "/v2/repository/index",
            "/predictions/",
            "/inference.GRPCInferenceService/ModelStreamInfer",
            "/inference.GRPCInferenceService/RepositoryModelLoad",
        ] {
            assert!(!auto(Method::POST, path), "{path}");
        }
        assert!(auto(Method::GET, "/x") && auto(Method::PUT, "/x"));
        assert!(!auto(Method::PATCH, "/predictions/x"));
        assert!(may_repeat(Repeatable::Always, &Method::POST, "/x"));
        assert!(!may_repeat(Repeatable::Never, &Method::GET, "/x"));
    }

    #[test]
    fn what_changes_something_is_no_question() {
        for (method, repeatable, question) in [
            (Method::GET, false, true),
            (Method::HEAD, false, true),
            (Method::OPTIONS, false, true),
            (Method::POST, true, true),
            (Method::POST, false, false),
            (Method::PUT, true, false),
            (Method::DELETE, true, false),
            (Method::PATCH, true, false),
        ] {
            assert_eq!(is_question(repeatable, &method), question, "{method}");
        }
    }
}
