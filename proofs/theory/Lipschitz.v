(** Lipschitz constants from l2 to l2, and how they pass through the maps of a network.

    [lipschitz n m L f]: ||f x - f y|| <= L ||x - y|| for all x, y of length n, where f makes vectors of length m.
    The squares of both sides are compared, so that no root is taken. *)

From Coq Require Import Arith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors.
Open Scope R_scope.

Definition lipschitz (n m : nat) (L : R) (f : vec -> vec) : Prop :=
  0 <= L /\ forall x y, square m (vminus (f x) (f y)) <= L ^ 2 * square n (vminus x y).

(** The same in norms. *)
Lemma lipschitz_norm n m L f :
  lipschitz n m L f <-> 0 <= L /\ forall x y, norm m (vminus (f x) (f y)) <= L * norm n (vminus x y).
Proof.
  split; intros [nonneg known]; (split; [exact nonneg|]); intros x y; specialize (known x y);
    apply (norm_le n m) in known; auto.
Qed.

Lemma lipschitz_le n m L K f : lipschitz n m L f -> L <= K -> lipschitz n m K f.
Proof.
  rewrite !lipschitz_norm. intros [nonneg known] below. split; [lra|]. intros x y.
  specialize (known x y). pose proof (norm_nonneg n (vminus x y)). nra.
Qed.

(** Only the first m entries of what f makes count. *)
Lemma lipschitz_ext n m L f g :
  (forall x i, (i < m)%nat -> f x i = g x i) -> lipschitz n m L f -> lipschitz n m L g.
Proof.
  intros same [nonneg known]. split; [exact nonneg|]. intros x y. specialize (known x y).
  rewrite (square_ext m _ (vminus (f x) (f y))); [exact known|].
  intros i below. unfold vminus. rewrite !same by exact below. reflexivity.
Qed.

Theorem lipschitz_identity n : lipschitz n n 1 (fun x => x).
Proof. split; [lra|]. intros x y. lra. Qed.

(** ** Composition *)
Theorem lipschitz_compose n k m L K f g :
  lipschitz n k L f -> lipschitz k m K g -> lipschitz n m (K * L) (fun x => g (f x)).
Proof.
  rewrite !lipschitz_norm. intros [HL known_f] [HK known_g]. split; [nra|]. intros x y.
  pose proof (known_f x y). pose proof (known_g (f x) (f y)).
  apply Rle_trans with (K * norm k (vminus (f x) (f y))); [assumption|].
  rewrite Rmult_assoc. apply Rmult_le_compat_l; assumption.
Qed.

(** ** Affine maps: x -> A x + b with ||A||^2 <= s has the constant u where u^2 >= s *)
Theorem lipschitz_affine n m A b s u :
  bounded n m A s -> 0 <= u -> s <= u ^ 2 -> lipschitz n m u (fun x => vplus (apply n A x) b).
Proof.
  intros known nonneg below. split; [exact nonneg|]. intros x y.
  rewrite (square_ext m _ (apply n A (vminus x y))).
  - pose proof (known (vminus x y)). pose proof (square_nonneg n (vminus x y)). nra.
  - intros i _. rewrite apply_minus. unfold vminus, vplus. ring.
Qed.

(** ** Scalar functions of every entry

    [slopes alpha beta f]: alpha <= (f a - f b) / (a - b) <= beta for all a, b that differ. *)
Definition slopes (alpha beta : R) (f : R -> R) : Prop :=
  forall a b, b <= a -> alpha * (a - b) <= f a - f b <= beta * (a - b).

(** Between any two points f has one slope between alpha and beta. *)
Lemma slopes_between alpha beta f a b :
  alpha <= beta -> slopes alpha beta f -> exists t, alpha <= t <= beta /\ f a - f b = t * (a - b).
Proof.
  intros order known. destruct (Req_dec a b) as [->|other].
  - exists alpha. split; [lra | ring].
  - exists ((f a - f b) / (a - b)). split; [|field; lra].
    destruct (Rle_or_lt b a) as [above|below].
    + pose proof (known a b above). split; (apply Rmult_le_reg_r with (a - b); [lra|]);
        unfold Rdiv; rewrite Rmult_assoc, Rinv_l by lra; lra.
    + assert (a <= b) as le by lra. pose proof (known b a le). split; (apply Rmult_le_reg_r with (b - a); [lra|]);
        replace ((f a - f b) / (a - b) * (b - a)) with (f b - f a) by (field; lra); lra.
Qed.

Theorem lipschitz_pointwise n alpha beta (f : nat -> R -> R) u :
  alpha <= beta -> (forall i, (i < n)%nat -> slopes alpha beta (f i)) -> Rabs alpha <= u -> Rabs beta <= u ->
  lipschitz n n u (fun x i => f i (x i)).
Proof.
  intros order known low high. pose proof (Rabs_pos alpha). split; [lra|]. intros x y.
  unfold square, dot. rewrite <- sum_scal. apply sum_le; intros i below. unfold vminus.
  destruct (slopes_between alpha beta (f i) (x i) (y i) order (known i below)) as (t & between & ->).
  assert (t ^ 2 <= u ^ 2).
  { apply pow_maj_Rabs. unfold Rabs in *. destruct (Rcase_abs alpha), (Rcase_abs beta), (Rcase_abs t); lra. }
  pose proof (Rle_0_sqr (x i - y i)). unfold Rsqr in *. nra.
Qed.

(** ** Sums *)
Theorem lipschitz_plus n m L K f g :
  lipschitz n m L f -> lipschitz n m K g -> lipschitz n m (L + K) (fun x => vplus (f x) (g x)).
Proof.
  rewrite !lipschitz_norm. intros [HL known_f] [HK known_g]. split; [lra|]. intros x y.
  pose proof (known_f x y). pose proof (known_g x y).
  pose proof (norm_triangle m (vminus (f x) (f y)) (vminus (g x) (g y))) as triangle.
  replace (norm m (vminus (vplus (f x) (g x)) (vplus (f y) (g y))))
    with (norm m (vplus (vminus (f x) (f y)) (vminus (g x) (g y)))); [lra|].
  unfold norm. f_equal. apply square_ext; intros i _. unfold vminus, vplus. ring.
Qed.

Theorem lipschitz_scal n m L c f : lipschitz n m L f -> lipschitz n m (Rabs c * L) (fun x => vscal c (f x)).
Proof.
  intros [HL known]. split; [pose proof (Rabs_pos c); nra|]. intros x y. specialize (known x y).
  rewrite (square_ext m _ (vscal c (vminus (f x) (f y)))) by (intros i _; unfold vminus, vscal; ring).
  rewrite square_scal, Rpow_mult_distr, pow2_abs. pose proof (Rle_0_sqr c). unfold Rsqr in *. nra.
Qed.

(** ** Concatenation: the squares of the constants add up *)
Definition concatenation (k : nat) (x y : vec) : vec := fun i => if i <? k then x i else y (i - k)%nat.

Lemma square_concatenation k m x y : square (k + m) (concatenation k x y) = square k x + square m y.
Proof.
  unfold square, dot. rewrite sum_add. f_equal; apply sum_ext; intros i below; unfold concatenation.
  - replace (i <? k) with true by (symmetry; apply Nat.ltb_lt; lia). reflexivity.
  - replace (k + i <? k) with false by (symmetry; apply Nat.ltb_ge; lia).
    replace (k + i - k)%nat with i by lia. reflexivity.
Qed.

Theorem lipschitz_concatenation n k m L K u f g :
  lipschitz n k L f -> lipschitz n m K g -> 0 <= u -> L ^ 2 + K ^ 2 <= u ^ 2 ->
  lipschitz n (k + m) u (fun x => concatenation k (f x) (g x)).
Proof.
  intros [_ known_f] [_ known_g] nonneg below. split; [exact nonneg|]. intros x y.
  specialize (known_f x y). specialize (known_g x y).
  rewrite (square_ext _ _ (concatenation k (vminus (f x) (f y)) (vminus (g x) (g y)))).
  - rewrite square_concatenation. pose proof (square_nonneg n (vminus x y)). nra.
  - intros i _. unfold vminus, concatenation. destruct (i <? k); reflexivity.
Qed.
