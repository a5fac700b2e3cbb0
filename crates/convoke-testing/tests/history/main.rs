//! The checker of histories, against histories whose verdict is known.

mod locks;
mod random;
mod registers;
mod reports;
mod written;
