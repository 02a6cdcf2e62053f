//! A handler and its test, without a socket: `cargo test --example test_a_handler --features testing`.

use stagedoor::HttpRequest;

/// What a visitor is told.
pub async fn hello(request: HttpRequest) -> String {
    format!("hello {}\n", &request.uri().path()[1..])
}

#[cfg(test)]
mod tests {
    use stagedoor::{handler, testing};

    #[test]
    fn a_visitor_is_greeted_by_name() {
        testing::run(async {
            let server = testing::Server::new(handler(super::hello));
            let client = server.client().await;
            client.get("/you").await.assert_status(200).assert_text("hello you\n");
        });
    }
}

fn main() {
    println!("the point of this one is its test: cargo test --example test_a_handler --features testing");
}
