//! Secrets have no `Debug` or `Display`, so that they cannot be written by accident.

use portcullis::auth::{
    BearerToken, Credentials, NewPassword, Password, SigningKey,
    tokens::{StoredToken, TokenSecret},
};

pub fn print(password: &Password, new: &NewPassword, key: &SigningKey, credentials: &Credentials, token: &BearerToken) {
    println!("{password:?}"); //~ E0277
    println!("{password}"); //~ E0277
    println!("{new:?}"); //~ E0277
    println!("{key:?}"); //~ E0277
    println!("{credentials:?}"); //~ E0277
    println!("{token:?}"); //~ E0277
}

pub fn list(token: &TokenSecret, stored: &StoredToken) {
    println!("{token:?}"); //~ E0277
    println!("{token}"); //~ E0277
    println!("{stored:?}"); //~ E0277
}

fn main() {}
