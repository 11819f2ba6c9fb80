//! `Headers`: the fields of a head in the order in which they came.
//!
//! A request has a dozen of them, and each is looked at a few times: a list that is gone
//! through costs less than a map with a hash for every field and every look, and keeps the
//! order, which a map does not. Trailers are a `http::HeaderMap`, as `http_body` has it.

use std::fmt;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Fields, each with its name in small letters.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

/// What a field can be looked for by.
pub trait Named {
    /// Whether it is this name; text is compared without regard to case.
    fn is(&self, name: &HeaderName) -> bool;
}

impl Named for HeaderName {
    fn is(&self, name: &HeaderName) -> bool {
        self == name
    }
}

impl Named for str {
    fn is(&self, name: &HeaderName) -> bool {
        name.as_str().eq_ignore_ascii_case(self)
    }
}

impl Named for String {
    fn is(&self, name: &HeaderName) -> bool {
        self.as_str().is(name)
    }
}

impl<T: Named + ?Sized> Named for &T {
    fn is(&self, name: &HeaderName) -> bool {
        (**self).is(name)
    }
}

impl Headers {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// None, with room for so many.
    #[must_use]
    pub fn with_capacity(fields: usize) -> Self {
        Self(Vec::with_capacity(fields))
    }

    /// How many fields there are; a name counts as often as it is there.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value of that name.
    #[must_use]
    pub fn get(&self, name: impl Named) -> Option<&HeaderValue> {
        self.0.iter().find(|(other, _)| name.is(other)).map(|(_, value)| value)
    }

    /// Every value of that name, in order.
    pub fn values<N: Named + Clone>(
        &self,
        name: N,
    ) -> impl Iterator<Item = &HeaderValue> + Clone {
        self.0.iter().filter(move |(other, _)| name.is(other)).map(|(_, value)| value)
    }

    /// The value of that name, if there is exactly one.
    #[must_use]
    pub fn only(&self, name: impl Named) -> Option<&HeaderValue> {
        let mut same = self.0.iter().filter(|(other, _)| name.is(other));
        let (_, value) = same.next()?;
        same.next().is_none().then_some(value)
    }

    /// Whether there is a field of that name.
    #[must_use]
    pub fn has(&self, name: impl Named) -> bool {
        self.0.iter().any(|(other, _)| name.is(other))
    }

    /// The names, each as often as it is there.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The fields.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.into_iter()
    }

    /// Adds a field, whatever there is of that name.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// Sets the one field of that name, in the place of the first that was there.
    pub fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        let mut new = Some(value);
        self.0.retain_mut(|(other, old)| {
            *other != name || new.take().map(|new| *old = new).is_some()
        });
        if let Some(value) = new {
            self.append(name, value);
        }
    }

    /// Takes every field of that name away; the first value.
    pub fn remove(&mut self, name: impl Named) -> Option<HeaderValue> {
        let at = self.0.iter().position(|(other, _)| name.is(other))?;
        let (_, value) = self.0.remove(at);
        self.0.retain(|(other, _)| !name.is(other));
        Some(value)
    }

    /// Takes every field away whose name is not wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&HeaderName) -> bool) {
        self.0.retain(|(name, _)| wanted(name));
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a HeaderName, &'a HeaderValue);
    type IntoIter = std::iter::Map<
        std::slice::Iter<'a, (HeaderName, HeaderValue)>,
        fn(&'a (HeaderName, HeaderValue)) -> Self::Item,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Headers {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Self {
        // Room for what a proxy adds.
        let mut headers = Self::with_capacity(map.len() + 8);
        let mut last = None;
        for (name, value) in map {
            // Of a name that is there more than once, the map gives only the first.
            if name.is_some() {
                last = name;
            }
            if let Some(name) = &last {
                headers.append(name.clone(), value);
            }
        }
        headers
    }
}

impl From<Headers> for HeaderMap {
    fn from(headers: Headers) -> Self {
        let mut map = Self::with_capacity(headers.len());
        for (name, value) in headers.0 {
            // The map has room for tens of thousands of names; no head has so many.
            let _there = map.try_append(name, value);
        }
        map
    }
}

#[cfg(test)]
impl<N: Named> std::ops::Index<N> for Headers {
    type Output = HeaderValue;

    fn index(&self, name: N) -> &HeaderValue {
        self.get(name).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::Headers;

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    fn texts(headers: &Headers) -> Vec<String> {
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}={}", value.to_str().unwrap())
        };
        headers.iter().map(text).collect()
    }

    #[test]
    fn fields_keep_their_order_and_their_number() {
        let mut headers = Headers::new();
        for (name, text) in [(COOKIE, "a"), (HOST, "h"), (COOKIE, "b"), (ACCEPT, "x")] {
            headers.append(name, value(text));
        }
        assert_eq!(headers.values(COOKIE).count(), 2);
        assert_eq!(headers.get("Cookie"), Some(&value("a")));
        assert_eq!(
            (headers.only(COOKIE), headers.only("HOST")),
            (None, Some(&value("h")))
        );
        headers.insert(COOKIE, value("c"));
        assert_eq!(texts(&headers), ["cookie=c", "host=h", "accept=x"]);
        headers.append(HOST, value("i"));
        assert_eq!(headers.remove(HOST), Some(value("h")));
        assert_eq!(texts(&headers), ["cookie=c", "accept=x"]);
        headers.retain(|name| name != COOKIE);
        assert!(!headers.has(COOKIE) && headers.has(ACCEPT));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_on_the_way_to_a_map_and_back(
            fields in prop::collection::vec((0usize..4, "[a-z]{0,4}"), 0..20),
        ) {
            let names = ["a", "b", "host", "cookie"].map(HeaderName::from_static);
            let headers: Headers = fields
                .iter()
                .map(|(name, text)| {
                    (names[*name].clone(), HeaderValue::from_str(text).unwrap())
                })
                .collect();
            let back = Headers::from(HeaderMap::from(headers.clone()));
            prop_assert_eq!(back.len(), headers.len());
            for name in &names {
                prop_assert!(back.values(name).eq(headers.values(name)));
            }
        }
    }
}
