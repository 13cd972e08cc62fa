//! Words about users and roles.

use bytes::Bytes;
use mvcc::View;
use proto::{
    etcd::{
        authpb::{Permission, permission::Type},
        etcdserverpb::{
            AuthDisableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest,
            AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest, AuthUserDeleteRequest, AuthUserGetRequest,
            AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest,
        },
    },
    raft::{AuthChange, AuthEnable, Identity, UserAdd, UserChangePassword, auth_change::Change},
};

use super::parse::{Words, bytes, number, text};

pub const CHANGES: [&str; 11] = [
    "enable",
    "disable",
    "useradd",
    "userdel",
    "passwd",
    "grantrole",
    "revokerole",
    "roleadd",
    "roledel",
    "permit",
    "forbid",
];

/// Questions that are judged and change nothing.
pub const LOOKS: [&str; 7] = ["user", "role", "somebody", "root", "extend", "lease", "leases"];

fn word(words: &mut Words<'_>) -> String {
    match words.next().expect("a word") {
        "-" => String::new(),
        word => word.to_owned(),
    }
}

fn key(words: &mut Words<'_>) -> Bytes {
    bytes(&word(words))
}

pub fn identity(words: &mut Words<'_>) -> Identity {
    Identity {
        user: word(words),
        auth_revision: number(&word(words)) as u64,
    }
}

pub fn change(name: &str, words: &mut Words<'_>) -> AuthChange {
    let change = match name {
        "enable" => Change::Enable(AuthEnable { secret: key(words) }),
        "disable" => Change::Disable(AuthDisableRequest {}),
        "useradd" => {
            let (name, hash) = (word(words), key(words));
            Change::UserAdd(UserAdd {
                name,
                no_password: hash.is_empty(),
                password_hash: hash,
            })
        }
        "userdel" => Change::UserDelete(AuthUserDeleteRequest { name: word(words) }),
        "passwd" => Change::UserChangePassword(UserChangePassword {
            name: word(words),
            password_hash: key(words),
        }),
        "grantrole" => Change::UserGrantRole(AuthUserGrantRoleRequest {
            user: word(words),
            role: word(words),
        }),
        "revokerole" => Change::UserRevokeRole(AuthUserRevokeRoleRequest {
            name: word(words),
            role: word(words),
        }),
        "roleadd" => Change::RoleAdd(AuthRoleAddRequest { name: word(words) }),
        "roledel" => Change::RoleDelete(AuthRoleDeleteRequest { role: word(words) }),
        "permit" => Change::RoleGrantPermission(AuthRoleGrantPermissionRequest {
            name: word(words),
            perm: permission(words),
        }),
        _ => Change::RoleRevokePermission(AuthRoleRevokePermissionRequest {
            role: word(words),
            key: key(words),
            range_end: words.next().map(bytes).unwrap_or_default(),
        }),
    };
    AuthChange { change: Some(change) }
}

fn permission(words: &mut Words<'_>) -> Option<Permission> {
    let perm_type = match words.next()? {
        "read" => Type::Read.into(),
        "write" => Type::Write.into(),
        "both" => Type::Readwrite.into(),
        other => number(other) as i32,
    };
    Some(Permission {
        perm_type,
        key: key(words),
        range_end: words.next().map(bytes).unwrap_or_default(),
    })
}

pub fn look(view: &View, identity: Option<&Identity>, what: &str, words: &mut Words<'_>) -> String {
    let caller = view.caller(identity);
    let judgement = match what {
        "user" => {
            let name = word(words);
            let seen = caller.see_user(&name);
            seen.and_then(|()| view.auth().user_get(&AuthUserGetRequest { name }))
                .map(|user| user.roles.join(" "))
        }
        "role" => {
            let role = word(words);
            let seen = caller.see_role(&role);
            seen.and_then(|()| view.auth().role_get(&AuthRoleGetRequest { role }))
                .map(|role| permissions(&role.perm))
        }
        "somebody" => caller.somebody().map(|()| "yes".to_owned()),
        "root" => caller.root().map(|()| "yes".to_owned()),
        "extend" => caller.extend_lease(number(&word(words))).map(|()| "yes".to_owned()),
        "lease" => caller.see_lease(number(&word(words))).map(|()| "yes".to_owned()),
        _ => caller.see_leases().map(|()| "yes".to_owned()),
    };
    judgement.unwrap_or_else(|refusal| format!("refused: {refusal}")) + "\n"
}

fn permissions(all: &[Permission]) -> String {
    let one = |permission: &Permission| {
        let kind = permission.perm_type().as_str_name();
        format!("{kind} {}..{}", text(&permission.key), text(&permission.range_end))
    };
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}

pub fn show(view: &View) -> String {
    let auth = view.auth();
    let state = if auth.enabled() { "on" } else { "off" };
    let mut out = format!("{state} revision={} secret={}\n", auth.revision(), text(auth.secret()));
    for user in auth.users() {
        let name = String::from_utf8_lossy(&user.name);
        let since = auth.user(&name).expect("it is there").since;
        out += &format!(
            "user {name} since={since} hash={} roles={}\n",
            text(&user.password),
            user.roles.join(",")
        );
    }
    for role in auth.roles() {
        let name = String::from_utf8_lossy(&role.name);
        let line = format!("role {name} {}", permissions(&role.key_permission));
        out += &format!("{}\n", line.trim_end());
    }
    out
}
