(** The checker's core, extracted to OCaml: integers become Zarith's, natural numbers OCaml's [int].

    Trusted here: that the directives below, and those of the standard library that are required, name functions that
    compute what they stand for, and that no natural number reaches 2^62 (all are positions in what was read). *)

From Coq Require Import ZArith Extraction ExtrOcamlBasic ExtrOcamlNatInt ExtrOcamlZBigInt.
From Lipverify Require Import Maps Certificate.

(* Shifts, powers and masks of whole integers: the second operand is never negative here. *)
Extract Constant Z.shiftl => "(fun x n -> Z.shift_left x (Z.to_int n))".
Extract Constant Z.shiftr => "(fun x n -> Z.shift_right x (Z.to_int n))".
Extract Constant Z.pow => "(fun x n -> Z.pow x (Z.to_int n))".
Extract Constant Z.land => "Z.logand".
Extract Constant Z.ones => "(fun n -> Z.pred (Z.shift_left Z.one (Z.to_int n)))".
Extract Constant Z.log2 => "(fun x -> if Z.sign x <= 0 then Z.zero else Z.of_int (Z.numbits x - 1))".
Extract Constant Z.of_nat => "Z.of_int".

(* Natural numbers: division by zero is zero, the remainder the number itself. *)
Extract Constant Nat.div => "(fun n m -> if m = 0 then 0 else n / m)".
Extract Constant Nat.modulo => "(fun n m -> if m = 0 then n else n mod m)".
Extract Constant Nat.min => "(fun n m -> if (n : int) < m then n else m)".
Extract Constant Nat.max => "(fun n m -> if (n : int) < m then m else n)".
Extract Inlined Constant Nat.ltb => "(<)".
Extract Inlined Constant Nat.leb => "(<=)".

Extraction "verified.ml" check shape rows columns by_place known_slopes made size.
