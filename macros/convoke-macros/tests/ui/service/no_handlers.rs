use convoke::Service;

#[derive(Service)]
struct Orders {
    store: String,
}

fn main() {}
