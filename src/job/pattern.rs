use std::fmt;

/// The source indices of a job: names and `*` wildcards, separated by commas; an item that starts with `-` and is not
/// the first takes matching names out again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IndexPattern(String);

impl IndexPattern {
    /// Takes the text as it is; an empty one matches nothing.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The items between the commas.
    pub fn items(&self) -> impl Iterator<Item = &str> {
        self.0.split(',').map(str::trim)
    }

    /// Whether one of the items is, or may be, this name. An alias may mean others.
    pub(crate) fn may_mean(&self, name: &str) -> bool {
        self.items().any(|item| wildcard_match(item, name))
    }

    /// The names among `known` that the pattern means, sorted, each once.
    ///
    /// # Errors
    /// The first item that is a plain name, not among `known` (Elasticsearch: `no such index [<name>]`). A wildcard
    /// that matches nothing is no error.
    pub fn resolve<'a>(&self, known: impl Iterator<Item = &'a str> + Clone) -> Result<Vec<&'a str>, String> {
        let mut chosen: Vec<&str> = Vec::new();
        for (at, item) in self.items().enumerate() {
            match item.strip_prefix('-') {
                Some(excluded) if at > 0 => chosen.retain(|name| !wildcard_match(excluded, name)),
                _ if item.contains('*') => chosen.extend(known.clone().filter(|name| wildcard_match(item, name))),
                _ => match known.clone().find(|name| *name == item) {
                    Some(name) => chosen.push(name),
                    None => return Err(item.to_owned()),
                },
            }
        }
        chosen.sort_unstable();
        chosen.dedup();
        Ok(chosen)
    }
}

impl fmt::Display for IndexPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Elasticsearch's simple match: `*` stands for any text, everything else for itself.
pub(crate) fn wildcard_match(pattern: &str, text: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("sensor-*", "sensor-1", true),
            ("sensor-*", "sensor-", true),
            ("sensor-*", "sensors", false),
            ("*", "", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("plain", "plain", true),
            ("plain", "plainer", false),
            ("*-2026", "logs-2026", true),
        ] {
            assert_eq!(wildcard_match(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn resolving() {
        let known = ["a-1", "a-2", "b-1"];
        let resolve = |text: &str| IndexPattern::new(text).resolve(known.iter().copied());
        assert_eq!(resolve("a-*"), Ok(vec!["a-1", "a-2"]));
        assert_eq!(resolve("b-1, a-*,-a-1"), Ok(vec!["a-2", "b-1"]));
        assert_eq!(resolve("c-*"), Ok(vec![]));
        assert_eq!(resolve("a-1,c-1"), Err("c-1".to_owned()));
    }
}
