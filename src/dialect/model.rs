//! Which model, and which version of it, a request's path names: Open Inference Protocol v2
//! and Triton's repository, the V1 protocol of KServe and TensorFlow Serving, OpenAI's
//! catalogue, TorchServe. Apart from `model_body`, because a path costs nothing to look at.

use std::borrow::Cow;

/// What a path names. Names are decoded once, as the server that gets the path does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathNames<'a> {
    /// The model.
    pub model: Option<Cow<'a, str>>,
    /// The version of the model.
    pub version: Option<Cow<'a, str>>,
}

impl PathNames<'_> {
    const NONE: Self = Self { model: None, version: None };
}

/// What this path names, which must be the one that is sent on. A path with `.` or `..` as
/// a segment after the beginning of a form names nothing: who knows where a server takes it.
///
/// - `/v2/models/M[/versions/V][/…]`
/// - `/v2/repository/models/M/(load|unload)`
/// - `/v1/models/M[:verb]` and `/v1/models/M/versions/V[:verb]`, where M may have slashes
/// - `/predictions/M[/V]` and `/explanations/M[/V]`
#[must_use]
pub fn path_names(path: &str) -> PathNames<'_> {
    let form = [
        ("/v2/models/", open_inference as fn(&str) -> PathNames<'_>),
        ("/v2/repository/models/", repository),
        ("/v1/models/", catalogue),
        ("/predictions/", torchserve),
        ("/explanations/", torchserve),
    ]
    .into_iter()
    .find_map(|(start, read)| Some((path.strip_prefix(start)?, read)));
    match form {
        // A segment of dots is written with one, or with a percent sign.
        Some((rest, read))
            if !rest.bytes().any(|byte| byte == b'.' || byte == b'%')
                || !rest.split('/').any(is_dots) =>
        {
            read(rest)
        }
        Some(_) | None => PathNames::NONE,
    }
}

fn open_inference(rest: &str) -> PathNames<'_> {
    let mut segments = rest.split('/');
    let model = segments.next().and_then(decoded);
    let version = match segments.next() {
        Some("versions") if model.is_some() => segments.next().and_then(decoded),
        Some(_) | None => None,
    };
    PathNames { model, version }
}

fn repository(rest: &str) -> PathNames<'_> {
    let mut segments = rest.split('/');
    let (model, verb) = (segments.next(), segments.next());
    match (verb, segments.next()) {
        (Some("load" | "unload"), None) => {
            PathNames { model: model.and_then(decoded), version: None }
        }
        _ => PathNames::NONE,
    }
}

/// OpenAI's names have slashes and colons (`meta-llama/Llama-3`, `ft:gpt:org::id`), so that
/// only the verbs of the V1 protocol end a name.
fn catalogue(rest: &str) -> PathNames<'_> {
    const VERBS: [&str; 5] =
        [":predict", ":explain", ":classify", ":regress", ":generate"];
    let verb = VERBS.iter().find_map(|verb| rest.strip_suffix(verb));
    let rest = verb.unwrap_or(rest);
    match rest.split_once("/versions/") {
        Some((model, version)) if !version.contains('/') => {
            PathNames { model: decoded(model), version: decoded(version) }
        }
        Some(_) | None => PathNames { model: decoded(rest), version: None },
    }
}

fn torchserve(rest: &str) -> PathNames<'_> {
    let mut segments = rest.split('/');
    let model = segments.next().and_then(decoded);
    let version = segments.next().filter(|_| model.is_some()).and_then(decoded);
    PathNames { model, version }
}

/// The text that a part of a path stands for; `None` for an empty one and for what is no
/// text.
fn decoded(part: &str) -> Option<Cow<'_, str>> {
    if part.is_empty() {
        return None;
    }
    if !part.contains('%') {
        return Some(Cow::Borrowed(part));
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut left = part.bytes();
    while let Some(byte) = left.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(left.next())?, digit(left.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// Whether a segment is `.` or `..`, however it is written.
fn is_dots(segment: &str) -> bool {
    let mut left = segment;
    let mut dots = 0;
    while !left.is_empty() {
        let rest = left.strip_prefix('.').or_else(|| {
            let coded = left.get(..3).is_some_and(|it| it.eq_ignore_ascii_case("%2e"));
            left.get(3..).filter(|_| coded)
        });
        let Some(rest) = rest else { return false };
        left = rest;
        dots += 1;
    }
    dots == 1 || dots == 2
}

#[cfg(test)]
mod tests {
    use super::path_names;

    fn names(path: &str) -> (String, String) {
        let names = path_names(path);
        let text = |part: Option<std::borrow::Cow<'_, str>>| {
            part.map_or_else(|| "-".to_owned(), std::borrow::Cow::into_owned)
        };
        (text(names.model), text(names.version))
    }

    #[test]
    fn every_form_names_its_model() {
        for (path, model, version) in [
            ("/v2/models/iris", "iris", "-"),
            ("/v2/models/iris/infer", "iris", "-"),
            ("/v2/models/iris/generate_stream", "iris", "-"),
            ("/v2/models/iris/versions/v2.5/infer", "iris", "v2.5"),
            ("/v2/models/iris/versions/2", "iris", "2"),
            ("/v2/models/iris/versions/", "iris", "-"),
            ("/v2/models/iris/versions", "iris", "-"),
            ("/v2/models/iris/infer/versions/3", "iris", "-"),
            ("/v2/models/ir%69s/infer", "iris", "-"),
            ("/v2/models/meta%2Fllama/infer", "meta/llama", "-"),
            ("/v2/models/iris/versions/v2%2E5/infer", "iris", "v2.5"),
            ("/v2/models/a%2525/infer", "a%25", "-"),
            ("/v2/repository/models/iris/load", "iris", "-"),
            ("/v2/repository/models/iris/unload", "iris", "-"),
            ("/v1/models/iris:predict", "iris", "-"),
            ("/v1/models/iris:explain", "iris", "-"),
            ("/v1/models/iris/versions/3:predict", "iris", "3"),
            ("/v1/models/meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B", "-"),
            ("/v1/models/ft:gpt-4o:acme::9x", "ft:gpt-4o:acme::9x", "-"),
            ("/v1/models/meta-llama%2FLlama", "meta-llama/Llama", "-"),
            ("/predictions/bert", "bert", "-"),
            ("/predictions/bert/1.0", "bert", "1.0"),
            ("/explanations/bert", "bert", "-"),
        ] {
            assert_eq!(names(path), (model.to_owned(), version.to_owned()), "{path}");
        }
    }

    #[test]
    fn what_is_no_such_path_names_nothing() {
        for path in [
            "/",
            "*",
            "/v2",
            "/v2/models",
            "/v2/models/",
            "/v2/models//infer",
            "/v2/models//versions/2",
            "/v2/health/ready",
            "/v2/repository/index",
            "/v2/repository/models/iris",
            "/v2/repository/models/iris/load/x",
            "/v2//models/iris",
            "//v2/models/iris/infer",
            "/V2/models/iris",
            "/x/v2/models/iris",
            "/v2/modelsx/iris",
            "/v1/chat/completions",
            "/v1/models",
            "/v1/models/",
            "/predictions",
            "/predictions/",
            "/v2/models/%/infer",
            "/v2/models/%2/infer",
            "/v2/models/%zz/infer",
            "/v2/models/%ff%fe/infer",
            "/v2/models/%+1/infer",
            "/v2/models/../iris/infer",
            "/v2/models/iris/../other/infer",
            "/v2/models/iris/%2e%2e/other/infer",
            "/v2/models/iris/.%2E/other/infer",
            "/v2/models/./iris/infer",
            "/v1/models/iris/..",
            "/predictions/bert/../other",
        ] {
            assert_eq!(names(path).0, "-", "{path}");
        }
        assert_eq!(names("/v2/models/...").0, "...");
        assert_eq!(names("/v2/models/.hidden/infer").0, ".hidden");
        assert_eq!(names("/v2/models/a%2F..%2Fb/infer").0, "a/../b");
    }
}
