//! Which dialect a request speaks, by its path and content type.

use super::grpc::is_grpc;
use crate::vocab::policy::Dialect;

/// The dialect of a request whose route leaves it open. Paths are those of the servers
/// themselves: Open Inference Protocol v2, OpenAI, Anthropic, TorchServe.
#[must_use]
pub fn pick(path: &str, content_type: Option<&[u8]>) -> Dialect {
    if content_type.is_some_and(is_grpc) {
        return Dialect::Grpc;
    }
    if path == "/v2" || path.starts_with("/v2/") {
        return Dialect::OpenInference;
    }
    if path.ends_with("/v1/messages") {
        return Dialect::Anthropic;
    }
    // KServe and others put a prefix before it (`/openai/v1/…`).
    if let Some((before, rest)) = path.split_once("/v1/") {
        let openai = ["chat/completions", "completions", "embeddings", "responses"];
        let models = rest == "models" || rest.starts_with("models/");
        if openai.contains(&rest) || (models && before.is_empty()) {
            return Dialect::OpenAi;
        }
    }
    if path.starts_with("/predictions/") {
        return Dialect::TorchServe;
    }
    Dialect::Plain
}

#[cfg(test)]
mod tests {
    use super::pick;
    use crate::vocab::policy::Dialect;

    #[test]
    fn the_path_and_the_content_type_say_the_dialect() {
        for (path, kind, dialect) in [
            ("/v2/models/iris/infer", "application/json", Dialect::OpenInference),
            ("/v1/chat/completions", "application/json", Dialect::OpenAi),
            ("/v1/responses", "", Dialect::OpenAi),
            ("/v1/messages", "application/json", Dialect::Anthropic),
            ("/anthropic/v1/messages", "", Dialect::Anthropic),
            ("/predictions/bert/1.0", "text/plain", Dialect::TorchServe),
            (
                "/inference.GRPCInferenceService/ModelInfer",
                "application/grpc",
                Dialect::Grpc,
            ),
            ("/a.B/C", "application/grpc+proto", Dialect::Grpc),
            ("/a.B/C", "application/grpc-web", Dialect::Plain),
            ("/openai/v1/chat/completions", "", Dialect::OpenAi),
            ("/tenant/v1/models", "", Dialect::Plain),
            ("/v1/chat", "application/json", Dialect::Plain),
            ("/v22", "", Dialect::Plain),
        ] {
            let kind = (!kind.is_empty()).then_some(kind.as_bytes());
            assert_eq!(pick(path, kind), dialect, "{path}");
        }
    }
}
