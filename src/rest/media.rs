//! Which forms a body may have, and the headers that official clients look at.

use std::io::Read;

use axum::body::Bytes;
use axum::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, WARNING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use flate2::read::MultiGzDecoder;

use super::error_answer::{Cause, ErrorAnswer};

/// Official clients refuse to talk to a server that does not say so.
const PRODUCT: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-elastic-product"), HeaderValue::from_static("Elasticsearch"));
const OPAQUE_ID: HeaderName = HeaderName::from_static("x-opaque-id");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The header's text, if there is one; one that is not text is none that we know.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// `application/json`, or the same in the compatible form of a client of the 7.x, 8.x or 9.x line.
fn is_json(media_type: &str) -> bool {
    let mut parts = media_type.split(';').map(|part| part.trim().to_ascii_lowercase());
    match parts.next().as_deref() {
        Some("application/json") => true,
        Some("application/vnd.elasticsearch+json") => parts.all(|parameter| {
            parameter.strip_prefix("compatible-with=").is_none_or(|version| matches!(version, "7" | "8" | "9"))
        }),
        _ => false,
    }
}

/// A body has to be JSON.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), ErrorAnswer> {
    match text(headers, CONTENT_TYPE) {
        Some(given) if is_json(given) => Ok(()),
        Some(given) => {
            let text = format!("Content-Type header [{given}] is not supported");
            Err(ErrorAnswer::short(StatusCode::NOT_ACCEPTABLE, text))
        }
        None => Err(ErrorAnswer::short(StatusCode::NOT_ACCEPTABLE, "Content-Type header is missing")),
    }
}

/// An answer is JSON, in the form that was asked for.
pub(super) fn check_accept(headers: &HeaderMap) -> Result<(), ErrorAnswer> {
    match text(headers, ACCEPT).map(str::trim) {
        // A list is what browsers send; Elasticsearch does not look into it.
        None | Some("" | "*/*" | "application/*") => Ok(()),
        Some(given) if given.contains(',') || is_json(given) => Ok(()),
        Some(given) => {
            let known = "application/json and application/vnd.elasticsearch+json;compatible-with=8";
            let reason = Cause::illegal_argument(format!("unsupported media type [{given}]: ask for {known}"));
            let cause = Cause::new("media_type_header_exception", "Invalid media-type value on headers [Accept]");
            Err(ErrorAnswer::new(StatusCode::BAD_REQUEST, cause.caused_by(reason)))
        }
    }
}

/// The headers of an answer to a request with these.
pub(super) fn answer(request: &HeaderMap) -> HeaderMap {
    let asked = request.get(ACCEPT).filter(|accept| accept.to_str().is_ok_and(is_json));
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(CONTENT_TYPE, asked.cloned().unwrap_or(JSON));
    headers.insert(PRODUCT.0, PRODUCT.1);
    if let Some(id) = request.get(OPAQUE_ID) {
        headers.insert(OPAQUE_ID, id.clone());
    }
    headers
}

/// What is answered is JSON, whoever asks for something else by a parameter.
pub(super) fn check_format(format: Option<&str>) -> Result<(), ErrorAnswer> {
    match format {
        None | Some("" | "json") => Ok(()),
        Some(other) => Err(ErrorAnswer::short(
            StatusCode::NOT_ACCEPTABLE,
            format!("format [{other}] is not supported: it has to be [json]"),
        )),
    }
}

/// A body as it was before it was packed, which may have at most `limit` bytes.
pub(super) fn unpack(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, ErrorAnswer> {
    match text(headers, CONTENT_ENCODING).map(str::trim) {
        None | Some("" | "identity") => Ok(body),
        _ if body.is_empty() => Ok(body),
        Some(encoding) if encoding.eq_ignore_ascii_case("gzip") => {
            let mut unpacked = Vec::new();
            let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
            let read = MultiGzDecoder::new(&*body).take(most).read_to_end(&mut unpacked);
            read.map_err(|error| {
                let reason = format!("the body is not what [gzip] packs: {error}");
                ErrorAnswer::new(StatusCode::BAD_REQUEST, Cause::new("parse_exception", reason))
            })?;
            if unpacked.len() > limit { Err(too_long(limit)) } else { Ok(unpacked.into()) }
        }
        Some(other) => {
            let text =
                format!("Content-Encoding header [{other}] is not supported: send the body as it is, or by [gzip]");
            Err(ErrorAnswer::short(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
        }
    }
}

/// A body is longer than the host allows.
pub(super) fn too_long(limit: usize) -> ErrorAnswer {
    let reason = format!("could not read the body, which may have at most [{limit}] bytes");
    ErrorAnswer::new(StatusCode::PAYLOAD_TOO_LARGE, Cause::new("content_too_long_exception", reason))
}

/// A header as Elasticsearch sends it with an answer that went well, where its caller should know something.
pub(super) fn warning(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    let text = format!(r#"299 rollup-jobs-{} "{text}""#, env!("CARGO_PKG_VERSION"));
    HeaderValue::from_str(&text).ok().map(|value| (WARNING, value))
}
