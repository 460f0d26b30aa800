(** From a Lipschitz constant to robustness: within a radius of an input the largest output stays the largest.

    Margins are strict, and so is what they prove: where two outputs tie, no theorem here applies. No root is taken: gaps are
    compared by their squares, as the checkers do. Nothing is said of what a machine's rounding adds. *)

From Coq Require Import Arith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Lipschitz.
Open Scope R_scope.

(** Output i of x is larger than every other one of m. *)
Definition keeps (m : nat) (y : vec) (i : nat) : Prop := forall j, (j < m)%nat -> j <> i -> y j < y i.

(** gap > 0 and gap^2 > 2 (L r)^2: the gap of outputs i and j at x is larger than sqrt(2) L r. *)
Lemma difference_bound m d i j : (i < m)%nat -> (j < m)%nat -> i <> j -> (d i - d j) ^ 2 <= 2 * square m d.
Proof.
  intros Hi Hj other.
  assert (d i * d i + d j * d j <= square m d); [|pose proof (Rle_0_sqr (d i + d j)); unfold Rsqr in *; nra].
  set (f k := if Nat.eqb k i then d i * d i else 0). set (h k := if Nat.eqb k j then d j * d j else 0).
  assert (sum m f = d i * d i) as <-.
  { rewrite (sum_only m f i Hi); unfold f; [rewrite Nat.eqb_refl; reflexivity|].
    intros k _ different. destruct (Nat.eqb_spec k i); [contradiction | reflexivity]. }
  assert (sum m h = d j * d j) as <-.
  { rewrite (sum_only m h j Hj); unfold h; [rewrite Nat.eqb_refl; reflexivity|].
    intros k _ different. destruct (Nat.eqb_spec k j); [contradiction | reflexivity]. }
  rewrite <- sum_plus. apply sum_le; intros k _. unfold f, h.
  destruct (Nat.eqb_spec k i), (Nat.eqb_spec k j); subst; try congruence; nra.
Qed.

(** A gap whose square is above that of any change stays positive. *)
Lemma gap_stays gap change c : 0 < gap -> c < gap ^ 2 -> change ^ 2 <= c -> 0 < gap - change.
Proof. intros positive above small. nra. Qed.

(** From l2 to l2: f_i - f_j is sqrt(2) L-Lipschitz. *)
Theorem margin_l2 n m L f x y r i :
  lipschitz n m L f -> (i < m)%nat -> 0 <= r -> square n (vminus x y) <= r ^ 2 ->
  (forall j, (j < m)%nat -> j <> i -> 0 < f x i - f x j /\ 2 * (L * r) ^ 2 < (f x i - f x j) ^ 2) ->
  keeps m (f y) i.
Proof.
  intros [nonneg known] Hi positive near margin j Hj other. destruct (margin j Hj other) as [gap above].
  set (d := vminus (f x) (f y)).
  assert (square m d <= (L * r) ^ 2) as whole.
  { eapply Rle_trans; [apply known|]. rewrite Rpow_mult_distr. apply Rmult_le_compat_l; [nra | exact near]. }
  pose proof (difference_bound m d i j Hi Hj (not_eq_sym other)) as small.
  assert (0 < (f x i - f x j) - (d i - d j)) as left by (apply (gap_stays _ _ (2 * (L * r) ^ 2)); lra).
  unfold d, vminus in left. lra.
Qed.

(** Every output has the constant L of its own (l2 -> linf). *)
Definition lipschitz_each (n m : nat) (L : R) (f : vec -> vec) : Prop :=
  0 <= L /\ forall x y i, (i < m)%nat -> Rabs (f x i - f y i) <= L * norm n (vminus x y).

(** From l2 to linf: f_i - f_j is 2 L-Lipschitz. *)
Theorem margin_linf n m L f x y r i :
  lipschitz_each n m L f -> (i < m)%nat -> norm n (vminus x y) <= r ->
  (forall j, (j < m)%nat -> j <> i -> 2 * L * r < f x i - f x j) -> keeps m (f y) i.
Proof.
  intros [nonneg known] Hi near margin j Hj other. specialize (margin j Hj other).
  pose proof (known x y i Hi) as change_i. pose proof (known x y j Hj) as change_j.
  assert (L * norm n (vminus x y) <= L * r) by (apply Rmult_le_compat_l; assumption).
  pose proof (Rle_abs (f x i - f y i)). pose proof (Rle_abs (- (f x j - f y j))). rewrite Rabs_Ropp in *. lra.
Qed.

(** A bound from l2 to l2 is one of every output. *)
Lemma lipschitz_each_of_l2 n m L f : lipschitz n m L f -> lipschitz_each n m L f.
Proof.
  intros known. apply lipschitz_norm in known as [nonneg known]. split; [exact nonneg|]. intros x y i below.
  eapply Rle_trans; [|apply known]. apply Rsqr_incr_0_var; [|apply norm_nonneg].
  rewrite <- Rsqr_abs, (Rsqr_pow2 (norm m _)), norm_square. apply (square_entry m (vminus (f x) (f y))), below.
Qed.

(** ** Linear heads *)

(** The rule [rows]: where no row of A has a square above s, every output of A z + b has the constant u L, u^2 >= s. *)
Theorem rows_each n k m L A b s u f :
  lipschitz n k L f -> (forall i, (i < m)%nat -> square k (A i) <= s) -> 0 <= u -> s <= u ^ 2 ->
  lipschitz_each n m (u * L) (fun x => vplus (apply k A (f x)) b).
Proof.
  intros known rows Hu enough. apply lipschitz_norm in known as [nonneg known]. split; [nra|]. intros x y i below.
  set (d := vminus (f x) (f y)).
  replace (vplus (apply k A (f x)) b i - vplus (apply k A (f y)) b i) with (dot k (A i) d)
    by (unfold d, vplus, apply; rewrite dot_minus_r; ring).
  pose proof (norm_nonneg k d) as Hd. pose proof (cauchy_schwarz k (A i) d) as cs. rewrite <- (norm_square k d) in cs.
  specialize (rows i below). specialize (known x y). fold d in known.
  apply Rle_trans with (u * norm k d); [|rewrite Rmult_assoc; apply Rmult_le_compat_l; assumption].
  apply Rsqr_incr_0_var; [|nra]. rewrite <- Rsqr_abs. unfold Rsqr.
  assert (square k (A i) * norm k d ^ 2 <= u ^ 2 * norm k d ^ 2) by (apply Rmult_le_compat_r; [nra | lra]). nra.
Qed.

(** Pairwise: logits A z + b of z = f x, f with the constant L, against ||A_i - A_j||. *)
Theorem margin_pairwise n k m L A b f x y r i :
  lipschitz n k L f -> norm n (vminus x y) <= r ->
  let logits z := vplus (apply k A (f z)) b in
  (forall j, (j < m)%nat -> j <> i -> norm k (vminus (A i) (A j)) * (L * r) < logits x i - logits x j) ->
  keeps m (logits y) i.
Proof.
  intros known near logits margin j Hj other. specialize (margin j Hj other).
  apply lipschitz_norm in known as [nonneg known]. specialize (known x y).
  set (w := vminus (A i) (A j)) in *. set (d := vminus (f x) (f y)) in *.
  assert (dot k w d <= norm k w * (L * r)) as small.
  { eapply Rle_trans; [apply dot_norm|]. apply Rmult_le_compat_l; [apply norm_nonneg|].
    eapply Rle_trans; [exact known|]. apply Rmult_le_compat_l; assumption. }
  assert (logits x i - logits x j - (logits y i - logits y j) = dot k w d) as change.
  { unfold logits, vplus, apply, w, d. rewrite dot_minus_l, !dot_minus_r. ring. }
  lra.
Qed.
