//! Describes the faults of a certificate chain: which certificate, since when, and how to fix it.
//!
//! Invariant: a fault names the certificate by number, line and subject, on one line of text.

use std::{fmt, time::SystemTime};

use super::super::certificate::date;

/// Position of a certificate in a chain: its number, its line in the file if there is one, and its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainPosition {
    /// Number in the chain, counted from 1.
    pub number: usize,
    /// Line of the file in which the certificate begins, counted from 1.
    pub line: Option<usize>,
    /// Subject of the certificate, for messages.
    pub subject: String,
}

impl fmt::Display for ChainPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {} (", self.number)?;
        self.line.map_or(Ok(()), |line| write!(f, "line {line}, "))?;
        write!(f, "{})", self.subject)
    }
}

/// A fault of a chain that all clients, or some of them, reject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// An issuer's certificate has expired.
    Expired {
        /// The expired certificate.
        place: ChainPosition,
        /// End of its validity.
        not_after: SystemTime,
        /// Whether clients have another certificate of this authority in their root store, which most of them then use.
        is_well_known: bool,
    },
    /// An issuer's certificate expires soon, and before the server's does.
    Expiring {
        /// The expiring certificate.
        place: ChainPosition,
        /// End of its validity.
        not_after: SystemTime,
    },
    /// An issuer's certificate is not valid yet.
    NotYetValid {
        /// The certificate that is not valid yet.
        place: ChainPosition,
        /// Start of its validity.
        not_before: SystemTime,
    },
    /// An issuer's certificate is not marked as an authority.
    NotAnAuthority {
        /// The certificate without CA:TRUE.
        place: ChainPosition,
    },
    /// The issuer of a certificate is not in the chain.
    Missing {
        /// The certificate whose issuer is missing.
        place: ChainPosition,
        /// Name of the missing issuer.
        issuer: String,
        /// A certificate of the same name that did not sign it.
        namesake: Option<ChainPosition>,
        /// Whether the issuer cannot be a root that clients trust.
        is_certain: bool,
    },
    /// An issuer does not directly follow the certificate that it issued.
    OutOfOrder {
        /// The certificate at the wrong position.
        place: ChainPosition,
        /// The certificate that it issued.
        issued: ChainPosition,
        /// Numbers of the certificates in the right order.
        order: Vec<usize>,
    },
    /// A certificate issued no other certificate of the chain.
    Unused {
        /// The unused certificate.
        place: ChainPosition,
    },
    /// The server's own certificate is marked as an authority.
    ServerIsAuthority {
        /// The server's certificate.
        place: ChainPosition,
    },
}

impl ChainFault {
    /// Whether this may not be a fault at all: the issuer may be a root that the clients trust.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        matches!(self, Self::Missing { is_certain: false, .. })
    }

    /// Whether all clients reject the chain, and not only some of them.
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

    /// Returns advice on how to fix the fault.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Expired { place, .. } | Self::Expiring { place, .. } => format!(
                "fetch the current certificate of {} from the authority that issued the server's, and replace the old one with \
                 it",
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
                 given to trust, nothing is missing"
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
