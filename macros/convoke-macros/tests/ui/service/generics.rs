use convoke::Service;

#[derive(Service)]
struct Generic<T> {
    store: T,
}

#[derive(Service)]
struct Borrows<'a> {
    store: &'a str,
}

fn main() {}
