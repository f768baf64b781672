//! Follows a server's chain from its own certificate to the last issuer that it contains, and finds faults that clients
//! reject.
//!
//! A server sends its chain as configured, and only clients notice that an intermediate has expired, is missing, or is
//! at the wrong position. Some do not notice, because they have the missing certificate from elsewhere.
//!
//! Invariant: a chain that every client accepts has no fault, except a [doubtful](ChainFault::is_doubtful) one where
//! its issuer may be either a root that clients trust or a missing intermediate. A fault that may be none is not
//! [certain](ChainFault::is_certain).

mod fault;

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;

pub use fault::{ChainFault, ChainPosition};

use super::{Fingerprint, certificate::CertificateFields, signature::is_signed_by};

/// How long before its end an intermediate causes a warning, if it ends before the server's certificate.
const EXPIRY_NOTICE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A server's certificate and the certificates that it sends with it.
#[derive(Clone, Debug)]
pub struct Chain {
    members: Vec<ChainMember>,
}

#[derive(Clone, Debug)]
struct ChainMember {
    certificate: CertificateDer<'static>,
    facts: CertificateFields,
    place: ChainPosition,
}

impl Chain {
    /// Parses the certificates of a chain, the server's own first. `lines` are the lines of the file in which they
    /// begin. The error is a readable reason.
    pub fn parse(certificates: &[CertificateDer<'static>], lines: &[usize]) -> Result<Self, String> {
        let read = |(index, certificate): (usize, &CertificateDer<'static>)| {
            let facts = CertificateFields::parse(certificate)?;
            let place =
                ChainPosition { number: index + 1, line: lines.get(index).copied(), subject: facts.subject_line() };
            Ok(ChainMember { certificate: certificate.clone(), facts, place })
        };
        Ok(Self { members: certificates.iter().enumerate().map(read).collect::<Result<_, String>>()? })
    }

    /// Returns the fingerprints of the certificates, in order.
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        self.members.iter().map(|member| member.facts.fingerprint)
    }

    /// Returns the position of the certificate at `index`, counted from 0.
    #[must_use]
    pub fn position(&self, index: usize) -> Option<&ChainPosition> {
        self.members.get(index).map(|member| &member.place)
    }

    /// Returns the index of the last certificate that is reached from the server's own, from issuer to issuer.
    #[must_use]
    pub fn top_index(&self, now: SystemTime) -> usize {
        self.path(now).last().copied().unwrap_or(0)
    }

    /// Whether `authority` signed the last certificate that is reached from the server's own, and all issuers are valid
    /// at `now`. A signature by an unsupported algorithm, or an issuer with name constraints, does not count as valid.
    #[must_use]
    pub fn leads_to(&self, authority: &CertificateDer<'_>, now: SystemTime) -> bool {
        let path = self.path(now);
        let links = path.windows(2).map(|pair| (pair[0], &self.members[pair[1]].certificate));
        let last = path.last().map(|top| (*top, authority));
        let are_signed = links
            .chain(last)
            .all(|(index, issuer)| is_signed_by(&self.members[index].certificate, issuer) == Some(true));
        let is_good = |facts: &CertificateFields| {
            facts.not_before <= now && now <= facts.not_after && facts.is_authority && !facts.has_name_constraints
        };
        are_signed
            && path[1..].iter().all(|index| is_good(&self.members[*index].facts))
            && CertificateFields::parse(authority).is_ok_and(|facts| is_good(&facts))
    }

    /// Returns everything that clients reject at `now`, except the validity and names of the server's own certificate.
    #[must_use]
    pub fn faults(&self, now: SystemTime) -> Vec<ChainFault> {
        let Some(leaf) = self.members.first() else { return Vec::new() };
        let path = self.path(now);
        let mut faults: Vec<ChainFault> = path[1..].iter().filter_map(|index| self.own_fault(*index, now)).collect();
        let order = self.order_fault(&path);
        // A certificate at the wrong position would be mistaken for the missing issuer.
        faults.extend(if order.is_some() { order } else { self.missing_issuer_fault(&path) });
        if faults.is_empty() {
            let unused = self.unrelated(&path).chain(self.duplicates());
            faults.extend(unused.map(|index| ChainFault::Unused { place: self.members[index].place.clone() }));
        }
        if leaf.facts.is_authority {
            faults.push(ChainFault::ServerIsAuthority { place: leaf.place.clone() });
        }
        faults
    }

    /// Returns the indices of the server's certificate, its issuer's, and so on.
    fn path(&self, now: SystemTime) -> Vec<usize> {
        let mut path = vec![0];
        while let Some(issuer) = path.last().and_then(|last| self.issuer(*last, &path, now)) {
            path.push(issuer);
        }
        path
    }

    /// Returns the issuer's index. Of several certificates of the issuer, prefers one that is valid at `now`, then the
    /// first.
    fn issuer(&self, index: usize, path: &[usize], now: SystemTime) -> Option<usize> {
        let member = self.members.get(index).filter(|member| !member.facts.is_self_issued())?;
        let mut issuers: Vec<usize> = (0..self.members.len())
            .filter(|candidate| !path.contains(candidate))
            .filter(|candidate| self.has_issued(*candidate, member))
            .collect();
        issuers.sort_by_key(|candidate| {
            let facts = &self.members[*candidate].facts;
            now > facts.not_after || now < facts.not_before
        });
        issuers.first().copied()
    }

    fn has_issued(&self, candidate: usize, member: &ChainMember) -> bool {
        let candidate = &self.members[candidate];
        member.facts.has_subject_of_issuer(&candidate.facts)
            && is_signed_by(&member.certificate, &candidate.certificate).unwrap_or(true)
    }

    /// Returns the fault of an issuer's certificate by itself.
    fn own_fault(&self, index: usize, now: SystemTime) -> Option<ChainFault> {
        let (member, leaf) = (&self.members[index], &self.members[0]);
        let (facts, place) = (&member.facts, member.place.clone());
        if now > facts.not_after {
            let is_well_known = facts.is_well_known();
            return Some(ChainFault::Expired { place, not_after: facts.not_after, is_well_known });
        }
        if now < facts.not_before {
            return Some(ChainFault::NotYetValid { place, not_before: facts.not_before });
        }
        if !facts.is_authority && !facts.is_self_issued() {
            return Some(ChainFault::NotAnAuthority { place });
        }
        let is_expiring = facts.not_after < leaf.facts.not_after && now + EXPIRY_NOTICE > facts.not_after;
        is_expiring.then_some(ChainFault::Expiring { place, not_after: facts.not_after })
    }

    /// Finds the first issuer that does not directly follow the certificate that it issued.
    fn order_fault(&self, path: &[usize]) -> Option<ChainFault> {
        let pair = path.windows(2).find(|pair| pair[1] < pair[0] || self.is_interrupted(pair[0], pair[1], path))?;
        let rest = (0..self.members.len()).filter(|index| !path.contains(index));
        Some(ChainFault::OutOfOrder {
            place: self.members[pair[1]].place.clone(),
            issued: self.members[pair[0]].place.clone(),
            order: path.iter().copied().chain(rest).map(|index| index + 1).collect(),
        })
    }

    /// Whether a certificate of the path, or an unused one, is between the two. Several certificates of one authority
    /// are alternatives, which do not count.
    fn is_interrupted(&self, child: usize, issuer: usize, path: &[usize]) -> bool {
        let is_harmless = |between: usize| {
            let is_alternative = self.members[between].facts.has_same_subject(&self.members[issuer].facts);
            !path.contains(&between) && (is_alternative || self.duplicates().any(|copy| copy == between))
        };
        (child + 1..issuer).any(|between| !is_harmless(between))
    }

    /// Finds the missing issuer at the end of the path.
    fn missing_issuer_fault(&self, path: &[usize]) -> Option<ChainFault> {
        let (top, leaf) = (&self.members[*path.last()?], &self.members[0]);
        if top.facts.is_self_issued() || top.facts.has_well_known_issuer() || top.facts.is_well_known() {
            return None;
        }
        let strangers = || self.unrelated(path).map(|index| &self.members[index]);
        let namesake = strangers().find(|member| top.facts.has_subject_of_issuer(&member.facts));
        let is_alone = path.len() == 1;
        let others = strangers().next().is_some();
        // If the file contains an intermediate, the end of the path is usually issued by an authority that clients
        // trust.
        if !is_alone && !others && namesake.is_none() {
            return None;
        }
        Some(ChainFault::Missing {
            place: top.place.clone(),
            issuer: top.facts.issuer_line(),
            namesake: namesake.map(|member| member.place.clone()),
            // Public authorities never issue servers' certificates with the root key that clients trust.
            is_certain: namesake.is_some() || (is_alone && (others || leaf.facts.has_scts)),
        })
    }

    /// Returns the indices of certificates that are neither in the path nor alternatives to one in it.
    fn unrelated<'a>(&'a self, path: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
        let has_name =
            |facts: &CertificateFields| path.iter().any(|index| self.members[*index].facts.has_same_subject(facts));
        (0..self.members.len()).filter(move |index| !path.contains(index) && !has_name(&self.members[*index].facts))
    }

    /// Returns the indices of certificates that are duplicates of an earlier one.
    fn duplicates(&self) -> impl Iterator<Item = usize> + '_ {
        let has_come = |index: usize| {
            self.members[..index].iter().any(|other| other.certificate == self.members[index].certificate)
        };
        (0..self.members.len()).filter(move |index| has_come(*index))
    }
}

#[cfg(test)]
mod tests;
