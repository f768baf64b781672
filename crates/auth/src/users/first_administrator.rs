//! Creates the users file with one administrator and a random password on the first start.
//!
//! Invariant: a users file that exists, even an empty one, is never changed.

use std::path::Path;

use aws_lc_rs::rand::SecureRandom;
use zeroize::Zeroizing;

use crate::{
    passwords::hash::{BcryptCost, NoRandomness, StoredHash},
    passwords::password::{NewPassword, Password},
    users::htpasswd::Htpasswd,
    users::{EditError, create_if_missing},
};
use portcullis_access::UserName;

/// Letters and digits without those that are easily confused (`l`, `I`, `O`, `0`, `1`), and none that a shell
/// interprets.
const PASSWORD_ALPHABET: &[u8] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// The length of the generated password: 24 of 57 letters hold 139 bits.
const PASSWORD_LEN: usize = 24;

/// Creates the users file with the user `admin`, and returns the name and the generated password, to be shown once.
/// Returns `None` and changes nothing if the file exists. Blocks.
pub fn create_first_administrator(
    path: &Path,
    cost: BcryptCost,
    random: &dyn SecureRandom,
) -> Result<Option<(UserName, Password)>, EditError> {
    let user = administrator_name();
    let mut generated = None;
    create_if_missing(path, || {
        let password = random_password(random)?;
        let mut file = Htpasswd::parse(b"");
        file.set_hash(&user, &StoredHash::new(&password, cost, random)?);
        generated = Some(password.password().clone());
        Ok(file)
    })?;
    Ok(generated.map(|password| (user, password)))
}

fn administrator_name() -> UserName {
    "admin".parse().expect("`admin` is a user name")
}

fn random_password(random: &dyn SecureRandom) -> Result<NewPassword, NoRandomness> {
    let mut text = Zeroizing::new(String::with_capacity(PASSWORD_LEN));
    while text.len() < PASSWORD_LEN {
        let mut byte = [0];
        random.fill(&mut byte).map_err(|_| NoRandomness)?;
        // Six random bits are an index, and an index past the end is drawn again: every letter is equally likely.
        if let Some(letter) = PASSWORD_ALPHABET.get(usize::from(byte[0] & 63)) {
            text.push(char::from(*letter));
        }
    }
    Ok(NewPassword::try_from(Password::new(std::mem::take(&mut text))).expect("24 letters are a password"))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use aws_lc_rs::rand::SystemRandom;

    use super::*;

    #[test]
    fn a_fresh_machine_gets_one_administrator_whose_password_works() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/htpasswd");
        let (user, password) =
            create_first_administrator(&path, BcryptCost::MIN, &SystemRandom::new()).unwrap().unwrap();
        assert_eq!(user.as_str(), "admin");
        assert_eq!(password.expose().len(), 24);
        assert!(password.expose().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let file = Htpasswd::parse(&fs::read(&path).unwrap());
        assert!(file.hash(&user).unwrap().matches(&password));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_exists_is_left_alone_even_if_it_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("htpasswd");
        fs::write(&path, "").unwrap();
        assert!(create_first_administrator(&path, BcryptCost::MIN, &SystemRandom::new()).unwrap().is_none());
        assert_eq!(fs::read(&path).unwrap(), b"");
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1, "nothing is written beside a file that is there");
    }
}
