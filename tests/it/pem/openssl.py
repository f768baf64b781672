"""Reads PEM files with the calls of nginx, from the same library: ngx_ssl_load_certificate and ngx_ssl_load_certificate_key.

Each line of standard input is a word and a path. The answer is a line: the SHA-256 digests of what was loaded, in order, or
"error" and OpenSSL's reason.
"""

import ctypes
import ctypes.util
import hashlib
import sys

crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
POINTER, TEXT = ctypes.c_void_p, ctypes.c_char_p
for name, result, arguments in [
    ("BIO_new_file", POINTER, [TEXT, TEXT]),
    ("BIO_free", ctypes.c_int, [POINTER]),
    ("PEM_read_bio_X509_AUX", POINTER, [POINTER] * 4),
    ("PEM_read_bio_X509", POINTER, [POINTER] * 4),
    ("PEM_read_bio_PrivateKey", POINTER, [POINTER, POINTER, POINTER, TEXT]),
    ("i2d_X509", ctypes.c_int, [POINTER, ctypes.POINTER(POINTER)]),
    ("i2d_PrivateKey", ctypes.c_int, [POINTER, ctypes.POINTER(POINTER)]),
    ("X509_free", None, [POINTER]),
    ("EVP_PKEY_free", None, [POINTER]),
    ("ERR_clear_error", None, []),
    ("ERR_peek_last_error", ctypes.c_ulong, []),
    ("ERR_reason_error_string", TEXT, [ctypes.c_ulong]),
]:
    function = getattr(crypto, name)
    function.restype, function.argtypes = result, arguments

LIBRARY_PEM, NO_START_LINE = 9, 108


def digest(encode, thing):
    buffer = ctypes.create_string_buffer(encode(thing, None))
    encode(thing, ctypes.byref(POINTER(ctypes.addressof(buffer))))
    return hashlib.sha256(buffer.raw).hexdigest()


def failed():
    reason = crypto.ERR_reason_error_string(crypto.ERR_peek_last_error()) or b"unknown"
    return "error " + reason.decode()


def chain(bio):
    found = []
    certificate = crypto.PEM_read_bio_X509_AUX(bio, None, None, None)
    if not certificate:
        return failed()
    while certificate:
        found.append(digest(crypto.i2d_X509, certificate))
        crypto.X509_free(certificate)
        certificate = crypto.PEM_read_bio_X509(bio, None, None, None)
    error = crypto.ERR_peek_last_error()
    is_end = error >> 23 & 0xFF == LIBRARY_PEM and error & 0x7FFFFF == NO_START_LINE
    return " ".join(found) if is_end else failed()


def key(bio):
    # An empty passphrase: nobody is asked for one.
    found = crypto.PEM_read_bio_PrivateKey(bio, None, None, b"")
    if not found:
        return failed()
    told = digest(crypto.i2d_PrivateKey, found)
    crypto.EVP_PKEY_free(found)
    return told


for line in sys.stdin:
    word, path = line.rstrip("\n").split(" ", 1)
    crypto.ERR_clear_error()
    bio = crypto.BIO_new_file(path.encode(), b"r")
    print({"chain": chain, "key": key}[word](bio))
    crypto.BIO_free(bio)
