//! gRPC on the wire: what is gRPC at all, and which model an inference request names in the
//! first bytes of its first message.
//!
//! A message is five bytes (a flag and a length, big endian) and then protobuf. Only as much
//! of it is read as the names need, from bytes that pass by or are kept for a second try;
//! what cannot be read names nothing, and is never refused for it.

/// `application/grpc`, alone or with `+proto` and the like or parameters.
#[must_use]
pub fn is_grpc(kind: &[u8]) -> bool {
    let Some(start) = kind.get(..GRPC.len()) else { return false };
    start.eq_ignore_ascii_case(GRPC)
        && kind.get(GRPC.len()).is_none_or(|next| b"+; \t".contains(next))
}

/// Which model the first bytes of a gRPC request name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcModel<'a> {
    /// More bytes are needed to say.
    More,
    /// This one.
    Named {
        /// Its name; never empty.
        model: &'a str,
        /// Its version; `None` leaves it to the server.
        version: Option<&'a str>,
    },
    /// None: another service or method, a compressed message, no message, or no name in the
    /// first [`GRPC_NAME_BYTES`] bytes.
    None,
}

/// The bytes at the beginning of a request in which its model must be named. The names are
/// the first fields of the messages and every encoder writes fields in order.
pub const GRPC_NAME_BYTES: usize = 4 * 1024;

/// Which model the body of a request names that begins with `first`, by the messages of the
/// Open Inference Protocol v2 (`inference.GRPCInferenceService`).
#[must_use]
pub fn grpc_model<'a>(path: &str, first: &'a [u8]) -> GrpcModel<'a> {
    let Some((model_field, version_field)) = name_fields(path) else {
        return GrpcModel::None;
    };
    let more =
        if first.len() < GRPC_NAME_BYTES { GrpcModel::More } else { GrpcModel::None };
    let Some((prefix, rest)) = first.split_first_chunk::<5>() else { return more };
    let [flag, length @ ..] = *prefix;
    if flag != 0 {
        return GrpcModel::None;
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    let whole = rest.len() >= length;
    let message = rest.get(..length).unwrap_or(rest);
    let (mut model, mut version) = (None, None);
    let mut fields = Fields { left: message };
    let end = loop {
        match fields.next() {
            Ok(Some((number, value))) => {
                let Some(text) = value.and_then(|value| std::str::from_utf8(value).ok())
                else {
                    continue;
                };
                if number == model_field {
                    model = Some(text);
                } else if number == version_field {
                    version = Some(text);
                } else if number > version_field.max(model_field) {
                    // Fields come in order: the names have gone by, or there are none.
                    break End::Passed;
                }
            }
            Ok(None) => break End::Whole,
            Err(Short) if whole => return GrpcModel::None,
            Err(Short) => break End::Short,
        }
    };
    let is_settled = match end {
        End::Passed => true,
        End::Whole => whole,
        End::Short => false,
    };
    let named = model.filter(|model| !model.is_empty());
    match (is_settled, named) {
        (false, _) if first.len() < GRPC_NAME_BYTES => GrpcModel::More,
        (_, Some(model)) => {
            GrpcModel::Named { model, version: version.filter(|it| !it.is_empty()) }
        }
        (_, None) => GrpcModel::None,
    }
}

/// Whether a method of the protocol asks one question and gets one answer.
#[must_use]
pub fn is_unary_inference(path: &str) -> bool {
    path == "/inference.GRPCInferenceService/ModelInfer"
}

/// The numbers of the fields `model_name` (or `name`) and `model_version` (or `version`) in
/// the request of that method.
fn name_fields(path: &str) -> Option<(u32, u32)> {
    match path.strip_prefix("/inference.GRPCInferenceService/")? {
        "ModelInfer" | "ModelStreamInfer" | "ModelReady" | "ModelMetadata"
        | "ModelConfig" | "ModelStatistics" => Some((1, 2)),
        // A repository and then the model; there is no version.
        "RepositoryModelLoad" | "RepositoryModelUnload" => Some((2, 0)),
        _ => None,
    }
}

/// How reading the fields ended.
enum End {
    /// A field came that stands after the names.
    Passed,
    /// Nothing is left.
    Whole,
    /// The bytes end within a field.
    Short,
}

/// The bytes end in the middle of something, or they are no protobuf.
struct Short;

/// A field's number, and its bytes if it has any (wire type 2) and they are here.
type Field<'a> = (u32, Option<&'a [u8]>);

/// The fields of a protobuf message, from bytes that may end anywhere.
struct Fields<'a> {
    left: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The next field.
    fn next(&mut self) -> Result<Option<Field<'a>>, Short> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| Short)?;
        let value = match key & 7 {
            0 => {
                self.varint()?;
                None
            }
            1 => {
                self.take(8)?;
                None
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Short)?;
                // A long value need not be here for its number to say enough.
                match self.left.get(..length) {
                    Some(value) => {
                        self.left = &self.left[length..];
                        Some(value)
                    }
                    None if number > 2 => {
                        self.left = &[];
                        None
                    }
                    None => return Err(Short),
                }
            }
            5 => {
                self.take(4)?;
                None
            }
            _ => return Err(Short),
        };
        Ok(Some((number, value)))
    }

    fn take(&mut self, count: usize) -> Result<(), Short> {
        self.left = self.left.get(count..).ok_or(Short)?;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, Short> {
        let mut value = 0;
        for (at, byte) in self.left.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at).min(63);
            if byte & 0x80 == 0 {
                self.left = &self.left[at + 1..];
                return Ok(value);
            }
        }
        Err(Short)
    }
}

const GRPC: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{GRPC_NAME_BYTES, GrpcModel, grpc_model};

    const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut length = value.len();
        while length >= 0x80 {
            out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        out.push(u8::try_from(length).unwrap());
        out.extend_from_slice(value);
        out
    }

    fn message(fields: &[Vec<u8>]) -> Vec<u8> {
        let body = fields.concat();
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[0][..], &length, &body].concat()
    }

    fn named(model: &'static str, version: Option<&'static str>) -> GrpcModel<'static> {
        GrpcModel::Named { model, version }
    }

    #[test]
    fn the_model_of_an_inference_request_is_seen_as_soon_as_it_can_be() {
        let tensors = field(7, &[7; 100_000]);
        for (fields, want) in [
            (vec![field(1, b"iris"), tensors.clone()], named("iris", None)),
            (
                vec![field(1, b"iris"), field(2, b"3"), tensors.clone()],
                named("iris", Some("3")),
            ),
            (
                vec![field(1, b"iris"), field(2, b""), field(3, b"id")],
                named("iris", None),
            ),
            (vec![field(1, b"iris")], named("iris", None)),
            (vec![field(3, b"id"), tensors.clone()], GrpcModel::None),
            (vec![field(1, b""), tensors], GrpcModel::None),
            (vec![], GrpcModel::None),
        ] {
            let whole = message(&fields);
            assert_eq!(grpc_model(INFER, &whole), want);
            // However it is cut, there is no wrong answer on the way.
            let mut settled = false;
            for end in 0..whole.len().min(GRPC_NAME_BYTES + 10) {
                let seen = grpc_model(INFER, &whole[..end]);
                assert!(seen == want || (!settled && seen == GrpcModel::More), "{end}");
                settled |= seen == want;
            }
            assert!(settled || whole.len() < 30);
        }
    }

    #[test]
    fn other_methods_and_other_bytes_name_nothing() {
        let iris = message(&[field(1, b"iris")]);
        for path in [
            "/inference.GRPCInferenceService/ServerLive",
            "/inference.GRPCInferenceService/",
            "/other.Service/ModelInfer",
            "",
        ] {
            assert_eq!(grpc_model(path, &iris), GrpcModel::None, "{path}");
        }
        let load = message(&[field(1, b"repository"), field(2, b"iris")]);
        let path = "/inference.GRPCInferenceService/RepositoryModelLoad";
        assert_eq!(grpc_model(path, &load), named("iris", None));
        let mut zipped = iris;
        zipped[0] = 1;
        assert_eq!(grpc_model(INFER, &zipped), GrpcModel::None);
        let long = message(&[field(1, &[b'x'; 2 * GRPC_NAME_BYTES])]);
        assert_eq!(grpc_model(INFER, &long[..GRPC_NAME_BYTES]), GrpcModel::None);
    }

    proptest! {
        #[test]
        fn no_bytes_upset_it(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _seen = grpc_model(INFER, &bytes);
            let _seen = grpc_model(INFER, &[&[0, 0, 0, 1, 0], &bytes[..]].concat());
        }
    }
}
