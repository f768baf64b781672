//! Prints the first-start banner: the address of the registry, the administrator's password and the commands to paste.
//!
//! Invariant: the password of the first administrator is printed here once, to standard error, and nowhere else.

use std::{
    fmt::{self, Display},
    io::{self, Write as _},
};

use crate::app::FirstStart;

/// Prints the banner on standard error.
pub(super) fn print(start: &FirstStart) {
    // A write error is ignored: a server whose standard error is closed still runs.
    let _ = write!(io::stderr().lock(), "{}", Banner(start));
}

struct Banner<'a>(&'a FirstStart);

impl Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FirstStart { host, authority, administrator, is_first } = self.0;
        writeln!(f, "Portcullis serves https://{host}/")?;
        if let Some((user, password)) = administrator {
            writeln!(f, "\nThe user {user} was created. Its password is shown only now:")?;
            writeln!(f, "    {}", password.expose())?;
        }
        if !is_first {
            return Ok(());
        }
        if let Some(authority) = authority {
            let path = authority.certificate.display();
            writeln!(f, "\nThe certificate authority is {path}. Its SHA-256 fingerprint:")?;
            writeln!(f, "    {}", authority.fingerprint)?;
            writeln!(f, "\nMake Docker trust it, on each machine that runs Docker, with a copy of that file:")?;
            writeln!(f, "    sudo install -D -m 644 {path} /etc/docker/certs.d/{host}/ca.crt")?;
        }
        writeln!(
            f,
            "\nSign in:\n    docker login{} {host}\n",
            user_option(administrator.as_ref().map(|(user, _)| user))
        )
    }
}

fn user_option(user: Option<&impl Display>) -> String {
    user.map(|user| format!(" -u {user}")).unwrap_or_default()
}
