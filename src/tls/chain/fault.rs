//! What clients object to in a chain: in which certificate, since when, and what to do about it.
//!
//! Invariant: a fault names the certificate by its number, its line and its subject, on one line of text.

use std::{fmt, time::SystemTime};

use super::super::certificate::date;

/// Which certificate of a chain: its number, its line in the file where there is one, its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub number: usize,
    /// The line of the file in which it begins, counted from 1.
    pub line: Option<usize>,
    /// The subject of the certificate, for people.
    pub subject: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {} (", self.number)?;
        self.line.map_or(Ok(()), |line| write!(f, "line {line}, "))?;
        write!(f, "{})", self.subject)
    }
}

/// What clients will object to, or some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// An issuer's certificate has expired.
    Expired {
        /// Which certificate.
        place: Place,
        /// It was valid up to this time.
        not_after: SystemTime,
        /// Clients have another certificate of this authority, and most use that one.
        is_well_known: bool,
    },
    /// An issuer's certificate expires soon, and before the server's does.
    Expiring {
        /// Which certificate.
        place: Place,
        /// It is valid up to this time.
        not_after: SystemTime,
    },
    /// The time of an issuer's certificate has not come.
    NotYetValid {
        /// Which certificate.
        place: Place,
        /// It is valid from this time on.
        not_before: SystemTime,
    },
    /// An issuer's certificate is not marked as an authority.
    NotAnAuthority {
        /// Which certificate.
        place: Place,
    },
    /// The issuer of a certificate does not follow.
    Missing {
        /// The certificate whose issuer is missing.
        place: Place,
        /// The name of the missing issuer.
        issuer: String,
        /// A certificate of this name that did not sign it.
        namesake: Option<Place>,
        /// Whether the issuer cannot be an authority that clients trust.
        is_certain: bool,
    },
    /// An issuer comes at another place than after what it issued.
    OutOfOrder {
        /// The certificate that should come earlier or later.
        place: Place,
        /// The certificate that it issued.
        issued: Place,
        /// The numbers of the certificates in the right order.
        order: Vec<usize>,
    },
    /// A certificate has no part in the chain.
    Unused {
        /// Which certificate.
        place: Place,
    },
    /// The server's own certificate is marked as an authority.
    ServerIsAuthority {
        /// The server's certificate.
        place: Place,
    },
}

impl ChainFault {
    /// Whether it is as likely to be no fault at all: the issuer may be a root that the clients trust.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        matches!(self, Self::Missing { is_certain: false, .. })
    }

    /// Whether clients refuse the chain, and not only some of them.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        match self {
            Self::Expired { is_well_known, .. } => !is_well_known,
            Self::NotYetValid { .. } | Self::NotAnAuthority { .. } => true,
            Self::Missing { is_certain, .. } => *is_certain,
            Self::Expiring { .. } | Self::OutOfOrder { .. } | Self::Unused { .. } | Self::ServerIsAuthority { .. } => {
                false
            }
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Expired { place, .. } | Self::Expiring { place, .. } => format!(
                "fetch the current certificate of {} from the authority that issued the server's, and put it in the place of the \
                 old one",
                place.subject
            ),
            Self::NotYetValid { .. } => "check this machine's clock".to_owned(),
            Self::NotAnAuthority { .. } => {
                "is this the right file? have it issued again with basicConstraints CA:TRUE".to_owned()
            }
            Self::Missing { issuer, namesake: Some(_), .. } => {
                format!(
                    "append the current certificate of {issuer} instead: an authority that renews its key keeps its name"
                )
            }
            Self::Missing { issuer, place, is_certain: true, .. } => {
                format!(
                    "append the certificate of {issuer} after {place}; the authority that issued it offers it as its chain or bundle"
                )
            }
            Self::Missing { issuer, .. } => format!(
                "if {issuer} is an intermediate, append its certificate to the file; if it is the authority that clients were \
                 given to trust, all is well"
            ),
            Self::OutOfOrder { order, .. } => {
                let order: Vec<String> = order.iter().map(ToString::to_string).collect();
                format!(
                    "put them in the order {}: each followed by its issuer. Clients of TLS 1.3 accept any order, those of TLS 1.2 \
                     need not",
                    order.join(", ")
                )
            }
            Self::Unused { .. } => {
                "remove it from the file; some clients refuse what does not belong to the chain".to_owned()
            }
            Self::ServerIsAuthority { .. } => {
                "have it issued again with basicConstraints CA:FALSE; some clients refuse an authority as a server"
                    .to_owned()
            }
        }
    }
}

impl fmt::Display for ChainFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { place, not_after, .. } => write!(f, "{place} of the chain expired on {}", date(*not_after)),
            Self::Expiring { place, not_after } => {
                write!(f, "{place} of the chain expires on {}, before the server's own", date(*not_after))
            }
            Self::NotYetValid { place, not_before } => {
                write!(f, "{place} of the chain is not valid before {}", date(*not_before))
            }
            Self::NotAnAuthority { place } => {
                write!(f, "{place} of the chain is not marked as an authority, so clients refuse what it issued")
            }
            Self::Missing { place, issuer, namesake: Some(namesake), .. } => {
                write!(f, "{place} was issued by {issuer}, but not by {namesake}, which has another key")
            }
            Self::Missing { place, issuer, namesake: None, .. } => {
                write!(f, "{place} was issued by {issuer}, whose certificate is not in the chain")
            }
            Self::OutOfOrder { place, issued, .. } => {
                write!(f, "the chain is out of order: {place} issued {issued} and does not come right after it")
            }
            Self::Unused { place } => {
                write!(f, "{place} has no part in the chain: it issued no other certificate of it")
            }
            Self::ServerIsAuthority { place } => {
                write!(f, "{place}, the server's own, is marked as an authority (basicConstraints CA:TRUE)")
            }
        }
    }
}
