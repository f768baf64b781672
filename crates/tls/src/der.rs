//! Splits DER into its elements, for the places that need the raw bytes of a part.
//!
//! Invariant: every returned element is within the input; lengths are in definite form and checked.

/// One element: its tag, its contents, and all of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DerElement<'a> {
    pub(super) tag: u8,
    pub(super) contents: &'a [u8],
    pub(super) bytes: &'a [u8],
}

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const UTF8_STRING: u8 = 0x0c;
const CONTEXT_TAG_0: u8 = 0xa0;
const CONTEXT_TAG_1: u8 = 0xa1;

/// Returns the first element and the bytes after it; `None` if there is no complete element.
pub(super) fn split_first(bytes: &[u8]) -> Option<(DerElement<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (octets, rest) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(octets, _)| !octets.is_empty())?;
        let length = octets.iter().try_fold(0_usize, |length, octet| {
            length.checked_mul(256).and_then(|length| length.checked_add(usize::from(*octet)))
        })?;
        (length, rest)
    };
    let (contents, after) = rest.split_at_checked(length)?;
    let bytes = &bytes[..bytes.len() - after.len()];
    Some((DerElement { tag, contents, bytes }, after))
}

/// Returns all elements of `bytes`; `None` if the last one is incomplete.
pub(super) fn elements(mut bytes: &[u8]) -> Option<Vec<DerElement<'_>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (element, rest) = split_first(bytes)?;
        found.push(element);
        bytes = rest;
    }
    Some(found)
}

/// Whether `bytes` are OpenSSL's `X509_CERT_AUX`, which follows the certificate in a `TRUSTED CERTIFICATE` block:
/// trusted uses, rejected uses, an alias, a key identifier, other data; each of them optional.
pub(super) fn is_trust_settings(bytes: &[u8]) -> bool {
    let Some((outer, [])) = split_first(bytes) else { return false };
    let Some(parts) = elements(outer.contents).filter(|_| outer.tag == SEQUENCE) else { return false };
    let order = [SEQUENCE, CONTEXT_TAG_0, UTF8_STRING, OCTET_STRING, CONTEXT_TAG_1];
    let mut places = parts.iter().map(|part| order.iter().position(|tag| *tag == part.tag));
    let are_objects = |part: &DerElement<'_>| {
        elements(part.contents).is_some_and(|objects| objects.iter().all(|object| object.tag == OBJECT_IDENTIFIER))
    };
    places.clone().all(|place| place.is_some())
        && places.by_ref().is_sorted_by(|one, next| one < next)
        && parts.iter().filter(|part| [SEQUENCE, CONTEXT_TAG_0].contains(&part.tag)).all(are_objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_split_by_short_and_long_lengths_and_never_beyond_the_end() {
        let long = [&[0x04, 0x82, 0x01, 0x00][..], &[7; 256], &[0x05, 0x00]].concat();
        let (element, rest) = split_first(&long).unwrap();
        assert_eq!((element.tag, element.contents.len(), element.bytes.len(), rest), (4, 256, 260, &[5, 0][..]));
        assert_eq!(elements(&long).unwrap().len(), 2);
        for damaged in
            [&[][..], &[0x30], &[0x30, 0x05, 1], &[0x30, 0x80, 0, 0], &[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1]]
        {
            assert_eq!(split_first(damaged), None, "{damaged:?}");
        }
        assert!(elements(&long[..long.len() - 1]).is_none());
    }

    #[test]
    fn trust_settings_are_told_from_a_second_certificate() {
        assert!(is_trust_settings(&[0x30, 0x00]));
        assert!(is_trust_settings(&[0x30, 0x09, 0x30, 0x04, 0x06, 0x02, 0x2a, 0x03, 0x0c, 0x01, b'a']));
        for other in [&[][..], &[0x05, 0x00], &[0x30, 0x00, 0x00], &[0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x01]] {
            assert!(!is_trust_settings(other), "{other:?}");
        }
        assert!(!is_trust_settings(&[0x30, 0x05, 0x0c, 0x01, b'a', 0x30, 0x00]), "the order is fixed");
    }
}
