//! What proves to be somebody is not written anywhere by accident.

use portcullis::auth::{
    BearerToken, Credentials, NewPassword, Password, SigningKey,
    grants::{Grant, GrantToken},
};

pub fn print(password: &Password, new: &NewPassword, key: &SigningKey, credentials: &Credentials, token: &BearerToken) {
    println!("{password:?}"); //~ E0277
    println!("{password}"); //~ E0277
    println!("{new:?}"); //~ E0277
    println!("{key:?}"); //~ E0277
    println!("{credentials:?}"); //~ E0277
    println!("{token:?}"); //~ E0277
}

pub fn list(token: &GrantToken, grant: &Grant) {
    println!("{token:?}"); //~ E0277
    println!("{token}"); //~ E0277
    println!("{grant:?}"); //~ E0277
}

fn main() {}
