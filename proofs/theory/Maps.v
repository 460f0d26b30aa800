(** The linear maps of a certificate as matrices, and what proves their norms.

    Numbers are exact: an entry is an integer times a power of two. Arrays are functions that a checker looks up; whatever
    they return, the theorems hold of the maps that they define. *)

From Coq Require Import Arith ZArith QArith Qreals List Bool Lia Reals Lra Psatz.
From Lipverify Require Import Sums Vectors Dominance Packing Gram.
Import ListNotations.
Open Scope nat_scope.

(** Entry k is mantissa k times 2^exponent. *)
Record array := Array { mantissa : nat -> Z; exponent : Z }.

(** One axis of a convolution: output p reads, by tap t, the place p stride + t dilation - pad of the image. *)
Record axis := Axis { image : nat; outputs : nat; taps : nat; pad : nat; stride : nat; dilation : nat }.

(** Cross-correlation; the kernel has the shape (groups * outs, ins, taps of the first axis, taps of the second). *)
Record convolution := Convolve {
  groups : nat; outs : nat; ins : nat; first_axis : axis; second_axis : axis; circular : bool; kernel : array }.

Inductive linear :=
| Along (before out inner after : nat) (weight : array)
    (** y[b, o, a] = sum_i weight[o, i] x[b, i, a]; a dense map where after = 1 *)
| Convolution (c : convolution)
| Copying (out inner : nat) (source : nat -> option nat)  (** y_i = x_(source i), or 0 *)
| Scaling (n : nat) (factor : array)  (** y_i = factor_i x_i *)
| Adjoint (of : linear)
| Compose (outer inner : linear).

Definition places (f : axis -> nat) (c : convolution) : nat := f (first_axis c) * f (second_axis c).

Fixpoint shape (l : linear) : nat * nat :=  (* rows, columns *)
  match l with
  | Along before out inner after _ => (before * out * after, before * inner * after)
  | Convolution c => (groups c * outs c * places outputs c, groups c * ins c * places image c)
  | Copying out inner _ => (out, inner)
  | Scaling n _ => (n, n)
  | Adjoint of => (snd (shape of), fst (shape of))
  | Compose outer inner => (fst (shape outer), snd (shape inner))
  end.

Definition rows (l : linear) : nat := fst (shape l).
Definition columns (l : linear) : nat := snd (shape l).

(** Whether output p reads place q of the image by tap t. *)
Definition reads_place (a : axis) (wraps : bool) (p t q : nat) : bool :=
  if wraps then (p * stride a + t * dilation a + (image a - pad a)) mod image a =? q
  else p * stride a + t * dilation a =? q + pad a.

Definition convolution_entry (c : convolution) (i j : nat) : Z :=
  let o := i / places outputs c in
  let p := i mod places outputs c in
  let channel := j / places image c in
  let q := j mod places image c in
  let f := first_axis c in
  let s := second_axis c in
  if o / outs c =? channel / ins c then
    zsum (taps f) (fun t =>
      if reads_place f (circular c) (p / outputs s) t (q / image s) then
        zsum (taps s) (fun u =>
          if reads_place s (circular c) (p mod outputs s) u (q mod image s) then
            mantissa (kernel c) (((o * ins c + channel mod ins c) * taps f + t) * taps s + u)
          else 0%Z)
      else 0%Z)
  else 0%Z.

Fixpoint entry (l : linear) : nat -> nat -> Z :=
  match l with
  | Along before out inner after weight => fun i j =>
      if (i / (out * after) =? j / (inner * after)) && (i mod after =? j mod after)
      then mantissa weight (i / after mod out * inner + j / after mod inner)
      else 0%Z
  | Convolution c => convolution_entry c
  | Copying _ _ source => fun i j => match source i with Some k => if k =? j then 1%Z else 0%Z | None => 0%Z end
  | Scaling _ factor => fun i j => if i =? j then mantissa factor i else 0%Z
  | Adjoint of => fun i j => entry of j i
  | Compose outer inner => fun i j => zsum (columns outer) (fun k => (entry outer i k * entry inner k j)%Z)
  end.

Fixpoint scale (l : linear) : Z :=
  match l with
  | Along _ _ _ _ weight => exponent weight
  | Convolution c => exponent (kernel c)
  | Copying _ _ _ => 0%Z
  | Scaling _ factor => exponent factor
  | Adjoint of => scale of
  | Compose outer inner => (scale outer + scale inner)%Z
  end.

(** The matrix of a map: what the certificate speaks of. *)
Definition matrix (l : linear) : mat := fun i j => (IZR (entry l i j) * powerRZ 2 (scale l))%R.

(** ** What proves ||A||^2 <= s *)

Inductive evidence :=
| GramFactor (of_rows : bool) (row_channels column_channels : nat) (factor : nat -> nat -> Z)
    (** a factor for the Gram matrix of the rows (or the columns), both taken by place, then by channel *)
| Copies (copies : nat -> list nat)  (** of an input entry the outputs that copy it *)
| Entries  (** the largest factor of a Scaling *)
| Product (outer : evidence) (s : Q) (inner : evidence) (t : Q).

(** The largest integer T with T 4^e <= q. *)
Definition floor_over (q : Q) (e : Z) : Z :=
  if (e <=? 0)%Z then (Qnum q * 4 ^ (- e) / Zpos (Qden q))%Z else (Qnum q / (Zpos (Qden q) * 4 ^ e))%Z.

(** i = p channels + c  ->  c (n / channels) + p. *)
Definition by_place (channels n i : nat) : nat := i mod channels * (n / channels) + i / channels.

Definition divides (a n : nat) : bool := (0 <? a) && (a * (n / a) =? n).

Definition gram_proves (l : linear) (of_rows : bool) (a b : nat) (factor : nat -> nat -> Z) (s : Q) : bool :=
  let f := if of_rows then entry l else fun i j => entry l j i in
  let m := if of_rows then rows l else columns l in
  let n := if of_rows then columns l else rows l in
  divides a m && divides b n &&
  gram_holds m n (fun i j => f (by_place a m i) (by_place b n j)) factor (floor_over s (scale l)).

Definition all_below (n : nat) (p : nat -> bool) : bool := forallb p (seq 0 n).

Definition copies_prove (out inner : nat) (source : nat -> option nat) (copies : nat -> list nat) (s : Q) : bool :=
  all_below out (fun i =>
    match source i with Some k => (k <? inner) && existsb (Nat.eqb i) (copies k) | None => true end) &&
  all_below inner (fun k => Qle_bool (inject_Z (Z.of_nat (length (copies k)))) s).

Definition entries_prove (n : nat) (factor : array) (s : Q) : bool :=
  all_below n (fun i => (mantissa factor i * mantissa factor i <=? floor_over s (exponent factor))%Z).

Fixpoint proves (l : linear) (e : evidence) (s : Q) : bool :=
  Qle_bool 0 s &&
  match e, l with
  | GramFactor of_rows a b factor, _ => gram_proves l of_rows a b factor s
  | Copies copies, Copying out inner source => copies_prove out inner source copies s
  | Entries, Scaling n factor => entries_prove n factor s
  | Product outer t inner u, Compose a b =>
      (columns a =? rows b) && proves a outer t && proves b inner u && Qle_bool (t * u) s
  | _, _ => false
  end.

(** The square of every row's norm is at most s: rows count one by one. *)
Definition rows_prove (l : linear) (s : Q) : bool :=
  all_below (rows l) (fun i =>
    (zsum (columns l) (fun j => let v := entry l i j in (v * v)%Z) <=? floor_over s (scale l))%Z).
