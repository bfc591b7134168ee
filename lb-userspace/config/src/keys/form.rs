//! Texts of layer 7 and the forms they have.

use crate::schema::Form;

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(s: &str) -> bool {
    !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

fn is_line(s: &str) -> bool {
    !s.chars().any(char::is_control)
}

const TOKEN: &str = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
const LINE: &str = r"^[^\x00-\x1f\x7f]*$";

pub(crate) static FIELD_NAME: Form = Form {
    what: "a field's name (letters, digits and '-')",
    example: "X-Beta",
    holds: |s| is_token(s) && s.len() < 256,
    pattern: TOKEN,
};
/// RFC 9110 §5.5, in ASCII, as `http` shows values as text only then.
pub(crate) static FIELD_VALUE: Form = Form {
    what: "a field's value, in ASCII, without spaces around it",
    example: "1",
    holds: |s| s.bytes().all(|b| b == b'\t' || (b' '..0x7f).contains(&b)) && s.trim() == s,
    pattern: r"^[\t -~]*$",
};
pub(crate) static PARAMETER: Form =
    Form { what: "a parameter's name", example: "debug", holds: |s| !s.is_empty() && is_line(s), pattern: LINE };
pub(crate) static PARAMETER_VALUE: Form =
    Form { what: "a parameter's value, decoded", example: "*", holds: is_line, pattern: LINE };
/// RFC 6265 §4.1.1.
pub(crate) static COOKIE_NAME: Form =
    Form { what: "a cookie's name (letters, digits, '-' and '_')", example: "lb", holds: is_token, pattern: TOKEN };
pub(crate) static COOKIE_VALUE: Form = Form {
    what: "a cookie's value, without spaces, commas and semicolons",
    example: "*",
    holds: |s| s.bytes().all(|b| b.is_ascii_graphic() && !b",;\\".contains(&b)),
    pattern: r"^[!-+.-:<-\[\]-~-]*$",
};
pub(crate) static METHOD: Form = Form { what: "a method", example: "GET", holds: |_| true, pattern: TOKEN };
pub(crate) static HOST: Form =
    Form { what: "a host name, or *. and a host name", example: "api.example.com", holds: |_| true, pattern: "." };
pub(crate) static URL_PATH: Form =
    Form { what: "a path that begins with a slash", example: "/api/*", holds: |_| true, pattern: "^/" };
pub(crate) static PREFIX: Form =
    Form { what: "a path that begins with a slash", example: "/api", holds: |_| true, pattern: "^/" };
pub(crate) static TEMPLATE: Form =
    Form { what: "a text, with {captures} of the path", example: "/orders/{id}", holds: |_| true, pattern: "" };
pub(crate) static STATUS: Form = Form {
    what: "a status from 400 to 599",
    example: "503",
    holds: |s| s.len() == 3 && s.parse::<u16>().is_ok_and(|s| (400..600).contains(&s)),
    pattern: "^[45][0-9][0-9]$",
};
pub(crate) static UPGRADE: Form = Form {
    what: "a protocol's name",
    example: "websocket",
    holds: |s| s.split_once('/').map_or_else(|| is_token(s), |(name, version)| is_token(name) && is_token(version)),
    pattern: r"^[!#$%&'*+.^_`|~0-9A-Za-z/-]+$",
};
pub(crate) static ESCAPE: Form =
    Form { what: "an escape", example: "%2f", holds: |_| true, pattern: "^%(00|2f|2F|5c|5C)$" };
pub(crate) static MEDIA_TYPE: Form = Form {
    what: "a media type without parameters, such as text/*",
    example: "text/*",
    holds: |s| s.split_once('/').is_some_and(|(a, b)| is_token(a) && is_token(b) && !a.contains('*')),
    pattern: r"^[^/*]+/.+$",
};
/// The account's directory; a loopback address may be asked without TLS, as a test's authority is.
pub(crate) static DIRECTORY: Form = Form {
    what: "a URL that begins with https://",
    example: "https://acme-v02.api.letsencrypt.org/directory",
    holds: |s| {
        let rest = s.strip_prefix("https://").or_else(|| s.strip_prefix("http://127.0.0.1"));
        rest.is_some_and(|r| !r.is_empty()) && s.bytes().all(|b| b.is_ascii_graphic())
    },
    pattern: "^https?://",
};
pub(crate) static EMAIL: Form = Form {
    what: "an e-mail address",
    example: "ops@example.com",
    holds: |s| {
        let parts = s.split_once('@');
        parts.is_some_and(|(a, b)| !a.is_empty() && !b.is_empty() && !b.contains('@'))
            && s.chars().all(|c| !c.is_whitespace() && !c.is_control())
    },
    pattern: "^[^@ ]+@[^@ ]+$",
};
