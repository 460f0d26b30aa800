(** Maxima: of two values, over the groups of a partition, and over windows that overlap. *)

From Coq Require Import Arith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Lipschitz.
Open Scope R_scope.

(** max(a, b) - max(c, d) is between the two differences, in magnitude. *)
Lemma maximum_change a b c d : (Rmax a b - Rmax c d) ^ 2 <= Rmax ((a - c) ^ 2) ((b - d) ^ 2).
Proof.
  pose proof (Rmax_l ((a - c) ^ 2) ((b - d) ^ 2)). pose proof (Rmax_r ((a - c) ^ 2) ((b - d) ^ 2)).
  unfold Rmax at 1 2. destruct (Rle_dec a b), (Rle_dec c d); try lra.
  - destruct (Rle_or_lt b c).
    + apply Rle_trans with ((a - c) ^ 2); [nra | assumption].
    + apply Rle_trans with ((b - d) ^ 2); [nra | assumption].
  - destruct (Rle_or_lt a d).
    + apply Rle_trans with ((b - d) ^ 2); [nra | assumption].
    + apply Rle_trans with ((a - c) ^ 2); [nra | assumption].
Qed.

Lemma maximum_change_sum a b c d : (Rmax a b - Rmax c d) ^ 2 <= (a - c) ^ 2 + (b - d) ^ 2.
Proof.
  eapply Rle_trans; [apply maximum_change|]. apply Rmax_lub; [pose proof (pow2_ge_0 (b - d)) | pose proof (pow2_ge_0 (a - c))];
    lra.
Qed.

(** The rule [joint] of an entrywise maximum: the squares of the constants add up. *)
Theorem lipschitz_maximum n m L K u f g :
  lipschitz n m L f -> lipschitz n m K g -> 0 <= u -> L ^ 2 + K ^ 2 <= u ^ 2 ->
  lipschitz n m u (fun x i => Rmax (f x i) (g x i)).
Proof.
  intros [_ known_f] [_ known_g] nonneg below. split; [exact nonneg|]. intros x y.
  specialize (known_f x y). specialize (known_g x y). pose proof (square_nonneg n (vminus x y)).
  apply Rle_trans with (square m (vminus (f x) (f y)) + square m (vminus (g x) (g y))); [|nra].
  unfold square, dot. rewrite <- sum_plus. apply sum_le; intros i _. unfold vminus.
  pose proof (maximum_change_sum (f x i) (g x i) (f y i) (g y i)). nra.
Qed.

(** And of a minimum, which is minus the maximum of what is negated. *)
Theorem lipschitz_minimum n m L K u f g :
  lipschitz n m L f -> lipschitz n m K g -> 0 <= u -> L ^ 2 + K ^ 2 <= u ^ 2 ->
  lipschitz n m u (fun x i => Rmin (f x i) (g x i)).
Proof.
  intros known_f known_g nonneg below.
  apply (lipschitz_scal n m L (-1)) in known_f. apply (lipschitz_scal n m K (-1)) in known_g.
  assert (Rabs (-1) = 1) as one by (unfold Rabs; destruct (Rcase_abs (-1)); lra). rewrite one, !Rmult_1_l in *.
  pose proof (lipschitz_scal n m u (-1) _ (lipschitz_maximum n m L K u _ _ known_f known_g nonneg below)) as known.
  rewrite one, Rmult_1_l in known. revert known. apply lipschitz_ext. intros x i _. unfold vscal.
  unfold Rmax, Rmin. destruct (Rle_dec (-1 * f x i) (-1 * g x i)), (Rle_dec (f x i) (g x i)); lra.
Qed.

(** ** The maximum over groups: entry b of the output is the largest of the entries b q .. b q + q - 1 *)

Fixpoint largest (q : nat) (x : vec) : R :=
  match q with
  | O => x O
  | S p => Rmax (largest p x) (x q)
  end.

(** The largest of x_0 .. x_q changes by no more than all of them together. *)
Lemma largest_change q x y : (largest q x - largest q y) ^ 2 <= square (S q) (vminus x y).
Proof.
  induction q as [|q IH].
  - unfold square, dot, vminus. simpl. right. ring.
  - change (square (S (S q)) (vminus x y))
      with (square (S q) (vminus x y) + vminus x y (S q) * vminus x y (S q)).
    cbn [largest]. eapply Rle_trans; [apply maximum_change_sum|].
    replace (vminus x y (S q) * vminus x y (S q)) with ((x (S q) - y (S q)) ^ 2) by (unfold vminus; ring).
    apply Rplus_le_compat_r. exact IH.
Qed.

(** Max pooling without overlap, and maxima over axes: 1-Lipschitz. *)
Theorem lipschitz_group_maximum groups q :
  lipschitz (groups * S q) groups 1 (fun x b => largest q (fun k => x (b * S q + k)%nat)).
Proof.
  split; [lra|]. intros x y. rewrite pow1, Rmult_1_l. unfold square at 2, dot. rewrite sum_blocks.
  unfold square, dot. apply sum_le; intros b _.
  set (xb k := x (b * S q + k)%nat). set (yb k := y (b * S q + k)%nat).
  apply Rle_trans with ((largest q xb - largest q yb) ^ 2); [right; unfold xb, yb, vminus; ring | exact (largest_change q xb yb)].
Qed.

(** Windows that overlap: copies of the entries, then the maximum of each window. A map that copies every entry at most k times
    has ||.||^2 <= k (bounded_copies of Copies.v), so max pooling has the constant u where u^2 >= k. *)
Theorem lipschitz_window_maximum n groups q A k u :
  bounded n (groups * S q) A k -> 0 <= u -> k <= u ^ 2 ->
  lipschitz n groups u (fun x b => largest q (fun t => apply n A x (b * S q + t)%nat)).
Proof.
  intros copies nonneg enough. rewrite <- (Rmult_1_l u).
  apply (lipschitz_compose n (groups * S q) groups u 1 (fun x => apply n A x)
    (fun z b => largest q (fun t => z (b * S q + t)%nat))); [|apply lipschitz_group_maximum].
  apply lipschitz_ext with (fun x => vplus (apply n A x) vzero).
  - intros x i _. unfold vplus, vzero. ring.
  - apply lipschitz_affine with k; assumption.
Qed.

(** ** Sorting: one exchange of two entries that are out of order keeps distances from growing, so every sorting network does *)

(** Entries i and j, in ascending order. *)
Definition exchange (i j : nat) (x : vec) : vec :=
  fun k => if Nat.eqb k i then Rmin (x i) (x j) else if Nat.eqb k j then Rmax (x i) (x j) else x k.

Lemma exchange_change a b c d :
  (Rmin a b - Rmin c d) ^ 2 + (Rmax a b - Rmax c d) ^ 2 <= (a - c) ^ 2 + (b - d) ^ 2.
Proof. unfold Rmin, Rmax. destruct (Rle_dec a b), (Rle_dec c d); nra. Qed.

(** A sum in which the terms i and j are taken apart. *)
Lemma sum_two n i j f : (i < n)%nat -> (j < n)%nat -> i <> j ->
  sum n f = f i + f j + sum n (fun k => if Nat.eqb k i then 0 else if Nat.eqb k j then 0 else f k).
Proof.
  intros Hi Hj other.
  assert (forall l, (l < n)%nat -> sum n (fun k => if Nat.eqb k l then f k else 0) = f l) as only.
  { intros l Hl. rewrite (sum_only n _ l Hl); [rewrite Nat.eqb_refl; reflexivity|].
    intros k _ different. destruct (Nat.eqb_spec k l); [contradiction | reflexivity]. }
  rewrite <- (only i Hi) at 1. rewrite <- (only j Hj), <- !sum_plus. apply sum_ext; intros k _.
  destruct (Nat.eqb_spec k i), (Nat.eqb_spec k j); subst; try contradiction; try rewrite (proj2 (Nat.eqb_neq _ _));
    try assumption; ring.
Qed.

Theorem lipschitz_exchange n i j : (i < n)%nat -> (j < n)%nat -> i <> j -> lipschitz n n 1 (exchange i j).
Proof.
  intros Hi Hj other. split; [lra|]. intros x y. rewrite pow1, Rmult_1_l. unfold square, dot.
  rewrite (sum_two n i j _ Hi Hj other), (sum_two n i j (fun k => vminus x y k * vminus x y k) Hi Hj other).
  pose proof (exchange_change (x i) (x j) (y i) (y j)) as pair.
  apply Rplus_le_compat.
  - unfold vminus, exchange. rewrite !Nat.eqb_refl, (proj2 (Nat.eqb_neq j i)) by auto. simpl in pair. lra.
  - right. apply sum_ext; intros k _. unfold vminus, exchange.
    destruct (Nat.eqb k i), (Nat.eqb k j); reflexivity.
Qed.
