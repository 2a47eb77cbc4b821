//! What a cluster says of itself.

use serde_json::Value;

use super::failure::{Cause, Failure};

/// Who made the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Elasticsearch,
    OpenSearch,
}

/// Kind and version of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) kind: Kind,
    pub(crate) major: u32,
}

impl Product {
    /// From the answer to `GET /`.
    pub(super) fn of(answer: &Value) -> Result<Self, Failure> {
        let version = &answer["version"];
        let number = version["number"].as_str().unwrap_or_default();
        let mut parts = number.split('.').map(str::parse::<u32>);
        let (major, minor) = (parts.next().and_then(Result::ok), parts.next().and_then(Result::ok));
        let kind = match (version["distribution"].as_str(), answer["tagline"].as_str()) {
            (Some("opensearch"), _) => Some(Kind::OpenSearch),
            (None, Some("You Know, for Search")) => Some(Kind::Elasticsearch),
            _ => None,
        };
        match (kind, major, minor) {
            // 7.10.2 is what an OpenSearch of any version says when it is to look like Elasticsearch.
            (Some(kind @ Kind::OpenSearch), Some(major @ (2 | 3 | 7)), _)
            | (Some(kind @ Kind::Elasticsearch), Some(major @ (8 | 9)), _)
            | (Some(kind @ Kind::Elasticsearch), Some(major @ 7), Some(17..)) => Ok(Self { kind, major }),
            (Some(kind), ..) => Err(refused(&format!("it is {kind:?} {number}"))),
            (None, ..) => Err(refused("it does not say of itself that it is one of them")),
        }
    }
}

fn refused(what: &str) -> Failure {
    let text = format!("the cluster has to be OpenSearch 2 or 3, or Elasticsearch 7.17, 8 or 9: {what}");
    Failure::new(Cause::Refused, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers() {
        let open = |number: &str| json!({ "version": { "distribution": "opensearch", "number": number } });
        let elastic = |number: &str| json!({ "version": { "number": number }, "tagline": "You Know, for Search" });
        for (answer, expected) in [
            (open("3.8.0"), Some((Kind::OpenSearch, 3))),
            (open("2.19.1"), Some((Kind::OpenSearch, 2))),
            (open("7.10.2"), Some((Kind::OpenSearch, 7))),
            (open("1.3.0"), None),
            (open("4.0.0"), None),
            (elastic("9.1.0"), Some((Kind::Elasticsearch, 9))),
            (elastic("8.19.0"), Some((Kind::Elasticsearch, 8))),
            (elastic("7.17.0"), Some((Kind::Elasticsearch, 7))),
            (elastic("7.16.3"), None),
            (elastic("10.0.0"), None),
            (json!({ "version": { "number": "9.1.0" } }), None),
            (json!({}), None),
        ] {
            let found = Product::of(&answer);
            assert_eq!(found.as_ref().ok().map(|product| (product.kind, product.major)), expected, "{answer}");
            if let Err(failure) = found {
                assert_eq!(failure.cause(), Cause::Refused);
            }
        }
    }
}
