//! Which addresses each listener asks for, and what happens when they are taken: an explicit address is the
//! user's word and fails, a built-in one moves to the next port.
//!
//! Binds nothing itself, save to find a free port for both loopback addresses under one name.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use stagedoor::BindError;

use crate::banner::Bound;
use crate::cli::Endpoint;
use crate::failure::{Exit, Failure};

/// How many ports after the usual one are tried.
const MOVES: u16 = 100;

/// What a listener is to bind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    flag: &'static str,
    hosts: Vec<IpAddr>,
    port: u16,
    choice: Choice,
    moves: u16,
}

/// Who chose the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// The user, by number.
    User,
    /// The user left it to the system, for more than one host.
    System,
    /// The demo.
    BuiltIn(u16),
}

/// What a command line says of addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) public: Option<Endpoint>,
    /// What the flag of `public` is called.
    pub(crate) public_flag: &'static str,
    pub(crate) plain: Option<Endpoint>,
    pub(crate) admin: AdminPlan,
}

/// What a command line says of the admin address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AdminPlan {
    /// No admin.
    None,
    /// The usual place, or near it.
    BuiltIn,
    At(SocketAddr),
}

/// The plans of a command: those the user chose first, so that a built-in one gives way to them.
pub(crate) fn plans(wanted: &Wanted) -> Vec<Plan> {
    let hosts = loopbacks();
    let admin = match wanted.admin {
        AdminPlan::At(address) => Some(Plan::chosen("admin", "--admin", Endpoint::Address(address), &hosts)),
        AdminPlan::BuiltIn => {
            Some(Plan::built_in("admin", "--admin", vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], 9901))
        }
        AdminPlan::None => None,
    };
    let mut plans: Vec<_> = [
        Some(Plan::of("public", wanted.public_flag, wanted.public, &hosts, 8443)),
        Some(Plan::of("plain", "--plain", wanted.plain, &hosts, 8080)),
        admin,
    ]
    .into_iter()
    .flatten()
    .collect();
    plans.sort_by_key(|plan| plan.choice != Choice::User);
    plans
}

impl Plan {
    fn of(
        name: &'static str,
        flag: &'static str,
        asked: Option<Endpoint>,
        loopbacks: &[IpAddr],
        usual: u16,
    ) -> Self {
        match asked {
            Some(endpoint) => Self::chosen(name, flag, endpoint, loopbacks),
            None => Self::built_in(name, flag, loopbacks.to_vec(), usual),
        }
    }

    fn chosen(name: &'static str, flag: &'static str, endpoint: Endpoint, loopbacks: &[IpAddr]) -> Self {
        let (hosts, port) = match endpoint {
            Endpoint::Localhost(port) => (loopbacks.to_vec(), port),
            Endpoint::Address(address) => (vec![address.ip()], address.port()),
        };
        let choice = if port == 0 && hosts.len() > 1 { Choice::System } else { Choice::User };
        let mut plan = Self { name, flag, hosts, port, choice, moves: 0 };
        if choice == Choice::System {
            plan.port = free_port();
        }
        plan
    }

    fn built_in(name: &'static str, flag: &'static str, hosts: Vec<IpAddr>, usual: u16) -> Self {
        Self { name, flag, hosts, port: usual, choice: Choice::BuiltIn(usual), moves: 0 }
    }

    /// The addresses to bind now.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.hosts.iter().map(|host| SocketAddr::new(*host, self.port)).collect()
    }

    /// The only host, for those that have one.
    pub(crate) fn host(&self) -> IpAddr {
        self.hosts.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Moves on after `error`.
    ///
    /// # Errors
    /// When it may not, or has done so often enough.
    pub(crate) fn move_on(&mut self, error: &BindError) -> Result<(), Failure> {
        let taken = error.source.kind() == io::ErrorKind::AddrInUse;
        if !taken || self.choice == Choice::User || self.moves == MOVES {
            return Err(self.failure(error));
        }
        self.moves += 1;
        self.port = if self.choice == Choice::System { free_port() } else { self.port + 1 };
        Ok(())
    }

    fn failure(&self, error: &BindError) -> Failure {
        let reason = match error.source.kind() {
            io::ErrorKind::AddrInUse => "the port is taken".to_owned(),
            io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege".to_owned(),
            io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
            _ => error.source.to_string(),
        };
        let tried = match self.choice {
            Choice::BuiltIn(usual) if self.moves > 0 => format!(", nor is any port from {usual} free"),
            _ => String::new(),
        };
        let message = format!("cannot serve {} on {}: {reason}{tried}", self.name, error.address);
        let way_out = format!("choose another with {} ADDR; port 0 takes a free one", self.flag);
        Failure::new(Exit::Reach, message).with_way_out(way_out)
    }

    /// How it is called now that it has `addresses`.
    pub(crate) fn bound(&self, addresses: &[SocketAddr]) -> Bound {
        let named =
            self.hosts.len() > 1 || (self.name != "admin" && matches!(self.choice, Choice::BuiltIn(_)));
        let moved_from = match self.choice {
            Choice::BuiltIn(usual) if self.moves > 0 => Some(usual),
            _ => None,
        };
        Bound::new(addresses, named, moved_from)
    }
}

/// The loopback addresses this machine has.
fn loopbacks() -> Vec<IpAddr> {
    let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let found: Vec<_> = both.into_iter().filter(|host| TcpListener::bind((*host, 0)).is_ok()).collect();
    // With neither, binding the first says best what is wrong.
    if found.is_empty() { both[..1].to_vec() } else { found }
}

/// A port that is free now. Someone may take it before we do; then another is asked for.
fn free_port() -> u16 {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    address.map_or(0, |address| address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing_said() -> Wanted {
        Wanted { public: None, public_flag: "--public", plain: None, admin: AdminPlan::BuiltIn }
    }

    fn in_use(plan: &Plan) -> BindError {
        BindError {
            listener: plan.name.to_owned(),
            address: plan.addresses()[0].into(),
            source: io::ErrorKind::AddrInUse.into(),
        }
    }

    #[test]
    fn a_built_in_port_moves_and_says_so() {
        let mut plan = Plan::built_in("public", "--public", vec![Ipv4Addr::LOCALHOST.into()], 8443);
        plan.move_on(&in_use(&plan)).unwrap();
        assert_eq!(plan.addresses(), ["127.0.0.1:8444".parse().unwrap()]);
        let bound = plan.bound(&plan.addresses());
        assert_eq!((bound.authority.as_str(), bound.moved_from), ("localhost:8444", Some(8443)));
        for _ in 1..MOVES {
            plan.move_on(&in_use(&plan)).unwrap();
        }
        let failure = plan.move_on(&in_use(&plan)).unwrap_err();
        assert!(failure.to_string().contains("nor is any port from 8443 free"), "{failure}");
    }

    #[test]
    fn an_explicit_port_stays_and_fails() {
        let wanted = Wanted { plain: Some("127.0.0.1:80".parse().unwrap()), ..nothing_said() };
        let mut plans = plans(&wanted);
        assert_eq!(plans[0].name, "plain", "explicit ones are bound first");
        let taken = in_use(&plans[0]);
        let failure = plans[0].move_on(&taken).unwrap_err();
        assert_eq!(failure.exit, Exit::Reach);
        assert_eq!(
            failure.to_string(),
            "stagedoor: cannot serve plain on 127.0.0.1:80: the port is taken\n  \
             choose another with --plain ADDR; port 0 takes a free one"
        );
    }

    #[test]
    fn other_errors_do_not_move_a_port() {
        let mut plan = Plan::built_in("admin", "--admin", vec![Ipv4Addr::LOCALHOST.into()], 9901);
        let mut error = in_use(&plan);
        error.source = io::ErrorKind::PermissionDenied.into();
        assert!(plan.move_on(&error).unwrap_err().to_string().contains("need a privilege"));
    }

    #[test]
    fn nothing_observed_means_no_admin() {
        let wanted = Wanted { admin: AdminPlan::None, ..nothing_said() };
        assert!(plans(&wanted).iter().all(|plan| plan.name != "admin"));
    }
}
