//! Makes a rejected login take the same time for unknown and existing users, by equal hashing work.
//!
//! Invariant: after [`ConstantEffort::spend_remaining`], a rejected sign-in took the same work whether the user exists
//! or not and whatever the format of the stored hash, so that the response time does not reveal which users are in the
//! users file.

use crate::{
    passwords::hash::{
        BcryptCost, HashKind, Md5Variant, ShaCryptVariant, spend_bcrypt, spend_md5_crypt, spend_sha_crypt,
    },
    passwords::password::Password,
};

/// The highest cost of each hash format in a users file; every rejected sign-in takes the sum of them.
///
/// Most files hold bcrypt only, and then this is one hash of the highest cost. A file with older hashes makes every
/// rejection take longer by their cost until they are gone. A cheaper dummy hash would reveal which users exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConstantEffort {
    bcrypt: Option<BcryptCost>,
    apr1: bool,
    md5_crypt: bool,
    sha256_rounds: u32,
    sha512_rounds: u32,
}

impl ConstantEffort {
    /// The effort that covers every one of these hashes.
    pub(crate) fn from_hash_kinds(kinds: impl Iterator<Item = HashKind>) -> Self {
        let nothing = Self { bcrypt: None, apr1: false, md5_crypt: false, sha256_rounds: 0, sha512_rounds: 0 };
        kinds.fold(nothing, |effort, kind| match kind {
            HashKind::Bcrypt(cost) => Self { bcrypt: effort.bcrypt.max(Some(cost)), ..effort },
            HashKind::Apr1 => Self { apr1: true, ..effort },
            HashKind::Md5Crypt => Self { md5_crypt: true, ..effort },
            // A single SHA-1 takes less than the variation of everything else.
            HashKind::Sha1 => effort,
            HashKind::Sha256Crypt { rounds } => Self { sha256_rounds: effort.sha256_rounds.max(rounds), ..effort },
            HashKind::Sha512Crypt { rounds } => Self { sha512_rounds: effort.sha512_rounds.max(rounds), ..effort },
        })
    }

    /// The bcrypt cost for new hashes: the highest in this file, or the default where there is none.
    pub(crate) fn bcrypt_cost(self) -> BcryptCost {
        self.bcrypt.unwrap_or(BcryptCost::DEFAULT)
    }

    /// Hashes `password` for the rest of the effort after it was compared with a hash of the kind `done`, or for all of
    /// it if there was no hash to compare with. Blocks.
    pub(crate) fn spend_remaining(self, done: Option<HashKind>, password: &Password) {
        for cost in self.remaining_bcrypt_costs(done) {
            spend_bcrypt(password, cost);
        }
        if self.apr1 && done != Some(HashKind::Apr1) {
            spend_md5_crypt(password, Md5Variant::Apache);
        }
        if self.md5_crypt && done != Some(HashKind::Md5Crypt) {
            spend_md5_crypt(password, Md5Variant::Unix);
        }
        for (variant, rounds) in self.remaining_sha_crypt_rounds(done) {
            if rounds > 0 {
                spend_sha_crypt(password, variant, rounds);
            }
        }
    }

    fn remaining_bcrypt_costs(self, done: Option<HashKind>) -> Vec<BcryptCost> {
        match done {
            Some(HashKind::Bcrypt(cost)) => cost.costs_up_to(self.bcrypt_cost()).collect(),
            None
            | Some(
                HashKind::Apr1
                | HashKind::Md5Crypt
                | HashKind::Sha1
                | HashKind::Sha256Crypt { .. }
                | HashKind::Sha512Crypt { .. },
            ) => vec![self.bcrypt_cost()],
        }
    }

    fn remaining_sha_crypt_rounds(self, done: Option<HashKind>) -> [(ShaCryptVariant, u32); 2] {
        let (sha256, sha512) = match done {
            Some(HashKind::Sha256Crypt { rounds }) => (rounds, 0),
            Some(HashKind::Sha512Crypt { rounds }) => (0, rounds),
            None | Some(HashKind::Bcrypt(_) | HashKind::Apr1 | HashKind::Md5Crypt | HashKind::Sha1) => (0, 0),
        };
        [
            (ShaCryptVariant::Sha256, self.sha256_rounds.saturating_sub(sha256)),
            (ShaCryptVariant::Sha512, self.sha512_rounds.saturating_sub(sha512)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bcrypt(cost: u32) -> HashKind {
        HashKind::Bcrypt(BcryptCost::new(cost).unwrap())
    }

    /// The number of bcrypt rounds in total, of the real hash and of the dummy hashes.
    fn total_bcrypt_rounds(effort: ConstantEffort, done: Option<HashKind>) -> u32 {
        let power = |cost: BcryptCost| 1 << cost.to_string().parse::<u32>().unwrap();
        let real = match done {
            Some(HashKind::Bcrypt(cost)) => power(cost),
            _ => 0,
        };
        real + effort.remaining_bcrypt_costs(done).into_iter().map(power).sum::<u32>()
    }

    #[test]
    fn every_rejection_costs_as_much_bcrypt_as_the_costliest_user() {
        let effort = ConstantEffort::from_hash_kinds([bcrypt(4), bcrypt(9), bcrypt(6), HashKind::Sha1].into_iter());
        for done in
            [None, Some(bcrypt(4)), Some(bcrypt(6)), Some(bcrypt(9)), Some(HashKind::Sha1), Some(HashKind::Apr1)]
        {
            assert_eq!(total_bcrypt_rounds(effort, done), 512, "{done:?}");
        }
    }

    #[test]
    fn without_any_user_the_dummy_hash_has_the_cost_of_new_hashes() {
        assert_eq!(total_bcrypt_rounds(ConstantEffort::from_hash_kinds(std::iter::empty()), None), 1024);
    }

    #[test]
    fn rounds_are_made_up_too() {
        let kinds = [HashKind::Sha256Crypt { rounds: 5000 }, HashKind::Sha512Crypt { rounds: 9000 }];
        let effort = ConstantEffort::from_hash_kinds(kinds.into_iter());
        let [(_, sha256), (_, sha512)] =
            effort.remaining_sha_crypt_rounds(Some(HashKind::Sha512Crypt { rounds: 5000 }));
        assert_eq!((sha256, sha512), (5000, 4000));
    }
}
